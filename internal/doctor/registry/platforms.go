// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// dockerManifestList is Docker's media type of an index.
const dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"

// maxConfigSize limits the configuration of an image, in bytes.
const maxConfigSize = 8 << 20

func (k *checker) platforms(ctx context.Context) doctor.Finding {
	nodes, err := k.Platforms(ctx)
	if err != nil {
		return inputFailed("the architectures of the nodes are not known", err)
	}
	states, err := k.imageStates(ctx)
	if err != nil {
		return inputFailed("the required images are not known", err)
	}
	if len(states) == 0 {
		return k.noImages()
	}
	if len(nodes) == 0 {
		return doctor.Unknownf("add a node and run the check again", "the cluster has no Linux node, so that no architecture is known")
	}
	states = slices.DeleteFunc(slices.Clone(states), func(s imageState) bool { return s.IsChart })
	missing, errs := make([][]string, len(states)), make([]error, len(states))
	var group errgroup.Group
	group.SetLimit(parallel)
	for n, s := range states {
		if errs[n] = s.err; s.err != nil {
			continue
		}
		group.Go(func() error {
			missing[n], errs[n] = k.missingPlatforms(ctx, s.repository, s.descriptor, nodes)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	var notCopied, notPublished, details []string
	for n, s := range states {
		image := s.Target + " for " + strings.Join(missing[n], " and ")
		switch {
		case errs[n] != nil:
			details = append(details, fmt.Sprintf("unknown: %s: %v", s.Target, errs[n]))
		case len(missing[n]) == 0:
		case s.AllPlatforms:
			notPublished = append(notPublished, image)
			details = append(details, "not published: "+image)
		default:
			notCopied = append(notCopied, image)
			details = append(details, "missing: "+image)
		}
	}
	const selectNodes = "keep its pods on the other nodes with a nodeSelector on kubernetes.io/arch"
	switch firstErr := cmp.Or(errs...); {
	case len(notCopied) > 0:
		return doctor.Failf(k.Mirror+" --update --overwrite, without --platform; if the image is not published for the architecture, "+selectNodes,
			"%d of %d images are missing for an architecture of the nodes: %s", len(notCopied), len(states), doctor.List(notCopied, 3)).With(details...)
	case errors.Is(firstErr, registry.ErrNotFound):
		return doctor.Unknownf(k.Mirror, "the architectures of images that are missing are not known: %v", firstErr).With(details...)
	case firstErr != nil:
		return requestFailed(rewrite.RegistryHost(k.Registry), firstErr).With(details...)
	case len(notPublished) > 0:
		return doctor.Warnf(selectNodes, "%d of %d images are not published for all nodes: %s", len(notPublished), len(states), doctor.List(notPublished, 3)).With(details...)
	}
	return doctor.OKf("%d images exist for %s", len(states), strings.Join(nodes, ", "))
}

// missingPlatforms returns the platforms of the nodes that an image does not have.
func (k *checker) missingPlatforms(ctx context.Context, repository string, d ocispec.Descriptor, nodes []string) ([]string, error) {
	available, err := k.imagePlatforms(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return slices.Contains(available, node) }), nil
}

// imagePlatforms returns the platforms of an image without variants, because
// every arm64 node runs v8. Attestations have the platform unknown/unknown.
// https://docs.docker.com/build/metadata/attestations/attestation-storage/
func (k *checker) imagePlatforms(ctx context.Context, repository string, d ocispec.Descriptor) (platforms []string, err error) {
	text, err := k.Client.Manifest(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	if d.MediaType == ocispec.MediaTypeImageIndex || d.MediaType == dockerManifestList {
		var index ocispec.Index
		if err := json.Unmarshal(text, &index); err != nil {
			return nil, fmt.Errorf("%s@%s: %w", repository, d.Digest, err)
		}
		for _, m := range index.Manifests {
			if p := m.Platform; p != nil && p.OS != "unknown" {
				platforms = append(platforms, p.OS+"/"+p.Architecture)
			}
		}
		return platforms, nil
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("%s@%s: %w", repository, d.Digest, err)
	}
	body, err := k.Client.Blob(ctx, repository, manifest.Config)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var config ocispec.Platform
	if text, err = io.ReadAll(io.LimitReader(body, maxConfigSize)); err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: configuration %s: %w", repository, manifest.Config.Digest, err)
	}
	return []string{config.OS + "/" + config.Architecture}, nil
}

func (k *checker) webhook(ctx context.Context) doctor.Finding {
	ref, err := k.Webhook(ctx)
	if err != nil {
		return inputFailed("the webhook's image is not known", err)
	}
	image := rewrite.SplitReference(ref)
	repository, host := image.Repository, image.Host()
	if host != rewrite.RegistryHost(k.Registry) && !rewrite.IsECRHost(host) {
		return doctor.Failf("install it from the private registry:\n"+k.Install, "%s is not in a private registry", ref)
	}
	d, err := k.Client.Resolve(ctx, repository, image.Identifier())
	mirror := "with the privatelink of the version that " + ref + " names: " + k.Mirror + " --set umbrella, or the flags of your last run; it copies the webhook's image, too"
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return doctor.Failf(mirror, "%s is missing", ref)
	case err != nil:
		return requestFailed(host, err)
	}
	if want := k.lockedWebhook(ctx, ref); want != "" && want != d.Digest {
		return doctor.Failf(k.Mirror+" --overwrite, if the lock file is correct; add --update if it is out of date",
			"%s is %s, and %s in the lock file", ref, d.Digest, want)
	}
	nodes, err := k.Platforms(ctx)
	if err != nil {
		return inputFailed(ref+" exists, but the architectures of the nodes are not known", err)
	}
	missing, err := k.missingPlatforms(ctx, repository, d, nodes)
	switch {
	case len(nodes) == 0:
		return doctor.OKf("%s exists, and the cluster has no Linux node", ref)
	case err != nil:
		return requestFailed(host, err)
	case len(missing) > 0:
		return doctor.Failf(mirror+"; add --overwrite, and leave out --platform", "%s does not exist for %s", ref, strings.Join(missing, " and "))
	}
	return doctor.OKf("%s exists for %s", ref, strings.Join(nodes, ", "))
}

// lockedWebhook returns the digest of the webhook's image in the lock file; empty if it
// is not known.
func (k *checker) lockedWebhook(ctx context.Context, ref string) digest.Digest {
	images, err := k.listed.Get(ctx, k.Images)
	if err != nil {
		return "" // reported by images
	}
	for _, i := range images {
		if i.matches(ref) {
			return i.Digest
		}
	}
	return ""
}
