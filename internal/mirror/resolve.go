// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// resolveSource finds the digest that the target is to have: that of the lock, or
// the one that the source has now.
func (m *Mirror) resolveSource(ctx context.Context, i *Item) error {
	if i.Locked != nil {
		i.desc.Digest, i.sourceDigest = i.Locked.Digest, i.Locked.SourceDigest
		if i.sourceDigest == "" {
			i.sourceDigest = i.Locked.Digest
		}
		return nil
	}
	source := i.source()
	d, err := m.Source.Resolve(ctx, source.Repository, source.Identifier())
	if err != nil {
		return err
	}
	i.sourceDigest = d.Digest
	if m.resolvesOnly() {
		i.desc = d
		return nil
	}
	// The lock records size and platforms, so the tree is read even if the target
	// turns out to have the image.
	if i.root, err = m.readTree(ctx, source.Repository, d); err != nil {
		return err
	}
	i.desc = i.root.desc
	if source.Digest != "" && i.desc.Digest.String() != source.Digest {
		return fmt.Errorf("%s is pinned by its digest, which changes when platforms are left out: copy it with all platforms", i.Source)
	}
	return nil
}

// resolvesOnly reports whether the digest of the source is enough for a comparison.
func (m *Mirror) resolvesOnly() bool { return m.CompareOnly && len(m.Platforms) == 0 }

// readImage reads from the source what a copy needs beyond the digest.
func (m *Mirror) readImage(ctx context.Context, i *Item) error {
	repository := i.source().Repository
	if i.root == nil {
		if err := m.readLockedTree(ctx, repository, i); err != nil {
			return err
		}
	}
	if err := checkECRLimits(i); err != nil {
		return err
	}
	m.warnOfExternalLayers(i)
	if !m.Referrers || i.State == StateIncomplete && i.Locked == nil {
		return nil // checkPresent has read them
	}
	var manifests []ocispec.Descriptor
	i.root.walk(func(n *node) { manifests = append(manifests, n.desc) })
	var err error
	i.referrers, err = m.readReferrers(ctx, i, i.subjects(manifests))
	return err
}

// warnOfExternalLayers reports the layers that cannot be copied, because the source
// does not store them.
func (m *Mirror) warnOfExternalLayers(i *Item) {
	i.root.walk(func(n *node) {
		for _, d := range n.external {
			m.emit(Event{Kind: EventWarning, Source: i.Source, Target: i.Target, Digest: d.Digest.String(),
				Message: fmt.Sprintf("layer %s is not in the source registry and not copied: nodes must reach %s", d.Digest, strings.Join(d.URLs, " or "))})
		}
	})
}

// readLockedTree reads the tree of an image of which the lock has only the digest.
func (m *Mirror) readLockedTree(ctx context.Context, repository string, i *Item) error {
	d, err := m.Source.Resolve(ctx, repository, i.sourceDigest.String())
	if err != nil {
		return fmt.Errorf("the locked digest of %s: %w", i.Source, err)
	}
	if i.root, err = m.readTree(ctx, repository, d); err != nil {
		return err
	}
	if i.root.desc.Digest != i.desc.Digest {
		return fmt.Errorf("%s is %s in the lock file, and %s with the requested platforms: update the lock file", i.Source, i.desc.Digest, i.root.desc.Digest)
	}
	i.desc = i.root.desc
	return nil
}

// checkECRLimits refuses what ECR would refuse after the upload: empty layers.
func checkECRLimits(i *Item) (err error) {
	if !rewrite.IsECRHost(i.target().Host()) {
		return nil
	}
	i.root.walk(func(n *node) {
		for _, d := range n.blobs {
			if d.Size == 0 {
				err = fmt.Errorf("%s has an empty layer (%s in %s), which ECR refuses: ask the publisher to rebuild the image", i.Source, d.Digest, n.desc.Digest)
			}
		}
	})
	return err
}
