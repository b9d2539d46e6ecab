// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// referrer is a manifest that refers to another: a signature, attestation or SBOM.
type referrer struct {
	*node
	subject digest.Digest // the manifest it refers to, or "" if it has a tag
	tag     string        // of a signature that is found by its tag
}

// signatureTags are the suffixes of the tags that cosign 2 derives from a digest.
var signatureTags = []string{".sig", ".att", ".sbom"}

// readReferrers reads the referrers of all manifests of a tree, those of referrers
// included, and the signatures of its root.
func (m *Mirror) readReferrers(ctx context.Context, repository string, root *node) ([]referrer, error) {
	var subjects []ocispec.Descriptor
	root.walk(func(n *node) { subjects = append(subjects, n.desc) })
	found := make([][]referrer, len(subjects)+len(signatureTags))
	all, ctx := errgroup.WithContext(ctx)
	for i, d := range subjects {
		all.Go(func() (err error) {
			found[i], err = m.referrersOf(ctx, repository, d, 0)
			return err
		})
	}
	for i, suffix := range signatureTags {
		tag := strings.Replace(root.desc.Digest.String(), ":", "-", 1) + suffix
		all.Go(func() (err error) {
			found[len(subjects)+i], err = m.signatures(ctx, repository, tag)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

func (m *Mirror) referrersOf(ctx context.Context, repository string, d ocispec.Descriptor, depth int) ([]referrer, error) {
	descriptors, err := m.Source.Referrers(ctx, repository, d)
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrUnsupported):
		return nil, nil // the registry does not support referrers
	case err != nil:
		return nil, err
	}
	var all []referrer
	for _, r := range descriptors {
		n, err := m.readTree(ctx, repository, r, 1)
		if err != nil {
			return nil, err
		}
		all = append(all, referrer{node: n, subject: d.Digest})
		if depth < maxDepth {
			nested, err := m.referrersOf(ctx, repository, r, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, nested...)
		}
	}
	return all, nil
}

// signatures returns what a signature tag refers to, if it exists.
func (m *Mirror) signatures(ctx context.Context, repository, tag string) ([]referrer, error) {
	d, err := m.Source.Resolve(ctx, repository, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := m.readTree(ctx, repository, d, 1)
	if err != nil {
		return nil, err
	}
	return []referrer{{node: n, tag: tag}}, nil
}
