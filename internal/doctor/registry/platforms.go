// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// dockerList is what Docker called an index before OCI.
const dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"

// most is more than any image's configuration has.
const most = 8 << 20

func (l *looking) platforms(ctx context.Context) doctor.Finding {
	nodes, err := l.Platforms(ctx)
	if err != nil {
		return unread("the architectures of the nodes are not known", err)
	}
	states, err := l.theStates(ctx)
	if err != nil {
		return unread("which images are needed is not known", err)
	}
	states = slices.DeleteFunc(slices.Clone(states), func(s state) bool { return s.err != nil }) // told by images
	if len(nodes) == 0 {
		return doctor.Unknownf("add a node, or look again when there is one", "the cluster has no node whose architecture could be asked for")
	}
	if len(states) == 0 {
		return l.nothing(ctx)
	}
	lacks, errs := make([][]string, len(states)), make([]error, len(states))
	var group errgroup.Group
	group.SetLimit(parallel)
	for n, s := range states {
		group.Go(func() error {
			lacks[n], errs[n] = l.lacking(ctx, s.repository, s.descriptor, nodes)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	var copied, published, details []string
	for n, s := range states {
		what := s.Target + " for " + strings.Join(lacks[n], " and ")
		switch {
		case errs[n] != nil:
			details = append(details, fmt.Sprintf("not seen: %s: %v", s.Target, errs[n]))
		case len(lacks[n]) == 0:
		case s.Whole:
			published = append(published, what)
			details = append(details, "not published: "+what)
		default:
			copied = append(copied, what)
			details = append(details, "missing: "+what)
		}
	}
	const keep = "keep its pods on the other nodes by a nodeSelector on kubernetes.io/arch"
	switch failed := errors.Join(errs...); {
	case len(copied) > 0:
		return doctor.Failf(l.Copy+" --update --overwrite, without --platform; where the publisher has none, "+keep,
			"%d of %d images lack an architecture of the nodes: %s", len(copied), len(states), doctor.List(copied, 3)).With(details...)
	case failed != nil:
		return unseen(rewrite.RegistryHost(l.Registry), first(errs)).With(details...)
	case len(published) > 0:
		return doctor.Warnf(keep, "%d of %d images are not published for all nodes: %s", len(published), len(states), doctor.List(published, 3)).With(details...)
	}
	return doctor.OKf("%d images are there for %s", len(states), strings.Join(nodes, ", "))
}

func first(errs []error) error {
	return errs[slices.IndexFunc(errs, func(err error) bool { return err != nil })]
}

// lacking returns those of the nodes' platforms that an image has not.
func (l *looking) lacking(ctx context.Context, repository string, d ocispec.Descriptor, nodes []string) (lacks []string, err error) {
	has, err := l.has(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		if !slices.Contains(has, node) {
			lacks = append(lacks, node)
		}
	}
	return lacks, nil
}

// has returns the platforms of an image, without variants: every arm64 node runs
// v8. Attestations are of no platform, which indexes call unknown/unknown.
// https://docs.docker.com/build/metadata/attestations/attestation-storage/
func (l *looking) has(ctx context.Context, repository string, d ocispec.Descriptor) (all []string, err error) {
	text, err := l.Client.Manifest(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	if d.MediaType == ocispec.MediaTypeImageIndex || d.MediaType == dockerList {
		var index ocispec.Index
		if err := json.Unmarshal(text, &index); err != nil {
			return nil, fmt.Errorf("%s@%s: %w", repository, d.Digest, err)
		}
		for _, m := range index.Manifests {
			if p := m.Platform; p != nil && p.OS != "unknown" {
				all = append(all, p.OS+"/"+p.Architecture)
			}
		}
		return all, nil
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("%s@%s: %w", repository, d.Digest, err)
	}
	body, err := l.Client.Blob(ctx, repository, manifest.Config)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var config ocispec.Platform
	if text, err = io.ReadAll(io.LimitReader(body, most)); err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: configuration %s: %w", repository, manifest.Config.Digest, err)
	}
	return []string{config.OS + "/" + config.Architecture}, nil
}

func (l *looking) webhook(ctx context.Context) doctor.Finding {
	ref, err := l.Webhook(ctx)
	if err != nil {
		return unread("the webhook's image is not known", err)
	}
	image := rewrite.SplitReference(ref)
	repository, host := image.Repository, image.Host()
	if host != rewrite.RegistryHost(l.Registry) && !rewrite.IsECRHost(host) {
		return doctor.Failf("install it from the private registry: privatelink install --config privatelink.yaml | kubectl apply -f -", "%s is not in a private registry", ref)
	}
	d, err := l.Client.Resolve(ctx, repository, image.Identifier())
	copying := "from the source of the version that " + ref + " names, which pushes all platforms: make push REGISTRY=" + l.Registry
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return doctor.Failf(copying, "%s is missing", ref)
	case err != nil:
		return unseen(host, err)
	}
	nodes, err := l.Platforms(ctx)
	if err != nil {
		return unread(ref+" is there, but the architectures of the nodes are not known", err)
	}
	lacks, err := l.lacking(ctx, repository, d, nodes)
	switch {
	case err != nil:
		return unseen(host, err)
	case len(lacks) > 0:
		return doctor.Failf(copying, "%s is not there for %s", ref, strings.Join(lacks, " and "))
	}
	return doctor.OKf("%s is there for %s", ref, strings.Join(nodes, ", "))
}
