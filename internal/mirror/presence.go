// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// checkPresent finds out whether the target has all that belongs to an image whose tag
// it has: the manifests of all platforms, and the referrers. It lacks what was deleted
// there, or published later. A registry keeps the blobs of a manifest that it has, so
// they are not checked.
//
// It takes a request for each manifest of an index, for each referrer, and for each list
// of referrers.
func (m *Mirror) checkPresent(ctx context.Context, i *Item, found content) error {
	manifests, err := m.listManifests(ctx, i, found)
	if err != nil {
		return err
	}
	var wanted []digest.Digest
	for _, d := range manifests {
		wanted = append(wanted, d.Digest)
	}
	switch {
	case !m.Referrers, m.WithoutSource && i.Locked == nil:
	case i.Locked != nil:
		wanted = append(wanted, i.Locked.Referrers...)
	default:
		if i.referrers, err = m.readReferrers(ctx, i, i.subjects(manifests)); err != nil {
			return err
		}
		wanted = append(wanted, untagged(i.referrers)...)
	}
	i.present = map[digest.Digest]bool{found.desc.Digest: true}
	if err := m.findPresent(ctx, i, wanted); err != nil {
		return err
	}
	m.dropUnlisted(ctx, i)
	if err := m.compareTags(ctx, i); err != nil {
		return err
	}
	for _, d := range wanted {
		if !i.present[d] {
			i.Lacks = append(i.Lacks, d)
		}
	}
	for _, r := range i.referrers {
		if r.tag != "" && !r.isDone {
			i.Lacks = append(i.Lacks, r.desc.Digest)
		}
	}
	if len(i.Lacks) > 0 {
		i.State = StateIncomplete
	}
	return nil
}

// content is a manifest of the target. Its text may be nil.
type content struct {
	desc ocispec.Descriptor
	raw  []byte
}

// findTarget returns what the name of an image refers to in the target, without a
// digest if that is nothing. It reads the manifest if the tree of the source is not
// going to be known, and checkPresent needs the manifest.
func (m *Mirror) findTarget(ctx context.Context, i *Item) (found content, err error) {
	target := i.target()
	if i.Locked != nil || m.WithoutSource || m.resolvesOnly() {
		found.desc, found.raw, err = m.Target.Fetch(ctx, target.Repository, target.Identifier())
	} else {
		found.desc, err = m.Target.Resolve(ctx, target.Repository, target.Identifier())
	}
	if errors.Is(err, registry.ErrNotFound) {
		return content{}, nil
	}
	return found, err
}

// listManifests lists the manifests of an image: from the tree of the source if that
// was read, or else from the target.
func (m *Mirror) listManifests(ctx context.Context, i *Item, found content) (all []ocispec.Descriptor, err error) {
	if i.root != nil {
		i.root.walk(func(n *node) { all = append(all, n.desc) })
		return all, nil
	}
	repository := i.target().Repository
	all = append(all, found.desc)
	seen := map[digest.Digest]bool{found.desc.Digest: true}
	for n := 0; n < len(all); n++ {
		c := content{desc: all[n]}
		if n == 0 {
			c = found
		}
		children, err := m.listChildren(ctx, repository, c)
		if err != nil {
			return nil, err
		}
		for _, d := range children {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				all = append(all, d)
			}
		}
		if len(all) > maxManifests {
			return nil, fmt.Errorf("%s@%s: the image has more than %d manifests", repository, found.desc.Digest, maxManifests)
		}
	}
	return all, nil
}

// listChildren lists the manifests of an index in the target. An index that the target
// lacks has none.
func (m *Mirror) listChildren(ctx context.Context, repository string, c content) ([]ocispec.Descriptor, error) {
	if !IsIndex(c.desc.MediaType) {
		return nil, nil
	}
	if c.raw == nil {
		var err error
		if c.raw, err = m.Target.Manifest(ctx, repository, c.desc); errors.Is(err, registry.ErrNotFound) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	doc, err := parseDocument(c.desc.MediaType, c.raw)
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", repository, c.desc.Digest, err)
	}
	return doc.children(), nil
}

// subjects returns those of the manifests of an image that the source has: not indexes
// of which platforms were left out.
func (i *Item) subjects(manifests []ocispec.Descriptor) []ocispec.Descriptor {
	filtered := map[digest.Digest]bool{}
	if i.root != nil {
		i.root.walk(func(n *node) { filtered[n.desc.Digest] = n.filtered })
	}
	return slices.DeleteFunc(slices.Clone(manifests), func(d ocispec.Descriptor) bool { return filtered[d.Digest] })
}

// untagged returns the digests of the manifests of referrers that the target is asked
// for by digest.
func untagged(referrers []*referrer) (digests []digest.Digest) {
	for _, r := range referrers {
		r.walk(func(n *node) {
			if r.tag == "" || n != r.node {
				digests = append(digests, n.desc.Digest)
			}
		})
	}
	return digests
}

// findPresent records which of the manifests the target has.
func (m *Mirror) findPresent(ctx context.Context, i *Item, manifests []digest.Digest) error {
	repository := i.target().Repository
	unknown := slices.DeleteFunc(slices.Clone(manifests), func(d digest.Digest) bool { return i.present[d] })
	slices.Sort(unknown)
	type answer struct {
		digest digest.Digest
		err    error
	}
	for _, a := range collect(slices.Compact(unknown), func(d digest.Digest) []answer {
		_, err := m.Target.Resolve(ctx, repository, d.String())
		return []answer{{d, err}}
	}) {
		switch {
		case a.err == nil:
			i.present[a.digest] = true
		case !errors.Is(a.err, registry.ErrNotFound):
			return a.err
		}
	}
	return nil
}

// dropUnlisted removes the referrers that the target does not list for their subjects from
// the present ones: without the referrers API, the list is written after the manifest, and
// that may have been interrupted or refused. ECR has the API.
func (m *Mirror) dropUnlisted(ctx context.Context, i *Item) {
	if rewrite.IsECRHost(i.target().Host()) {
		return
	}
	bySubject := map[digest.Digest][]digest.Digest{}
	for _, r := range i.referrers {
		if r.tag == "" && i.present[r.desc.Digest] {
			bySubject[r.subject] = append(bySubject[r.subject], r.desc.Digest)
		}
	}
	unlisted := collect(slices.Collect(maps.Keys(bySubject)), func(subject digest.Digest) []digest.Digest {
		listed, err := m.Target.Referrers(ctx, i.target().Repository, ocispec.Descriptor{Digest: subject})
		if err != nil {
			return nil // the list may be incomplete
		}
		return slices.DeleteFunc(bySubject[subject], func(d digest.Digest) bool {
			return slices.ContainsFunc(listed, func(l ocispec.Descriptor) bool { return l.Digest == d })
		})
	})
	for _, d := range unlisted {
		delete(i.present, d)
	}
}

// compareTags finds the signatures with a tag that need not be written, because the
// target has them, or others that would be lost.
func (m *Mirror) compareTags(ctx context.Context, i *Item) error {
	tagged := slices.DeleteFunc(slices.Clone(i.referrers), func(r *referrer) bool { return r.tag == "" || r.isDone })
	errs := collect(tagged, func(r *referrer) []error { return []error{m.compareTag(ctx, i, r)} })
	return errors.Join(errs...)
}

func (m *Mirror) compareTag(ctx context.Context, i *Item, r *referrer) error {
	repository := i.target().Repository
	found, err := m.Target.Resolve(ctx, repository, r.tag)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return nil
	case err != nil:
		return err
	case found.Digest == r.desc.Digest:
		r.isDone = true
		return nil
	case m.Overwrite || m.isExtendedBy(ctx, repository, found, r.node):
		return nil
	}
	r.isDone, r.isSkipped = true, true
	m.emit(Event{Kind: EventWarning, Source: i.Source, Target: i.Target, Digest: r.desc.Digest.String(),
		Message: fmt.Sprintf("%s:%s has signatures that the source does not have, and is not changed: use --overwrite to replace them", repository, r.tag)})
	return nil
}

// isExtendedBy reports whether the signatures under a tag of the target are among those
// of a manifest of the source: cosign adds each signature as a layer.
func (m *Mirror) isExtendedBy(ctx context.Context, repository string, found ocispec.Descriptor, n *node) bool {
	raw, err := m.Target.Manifest(ctx, repository, found)
	if err != nil {
		return false
	}
	doc, err := parseDocument(found.MediaType, raw)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(doc.layers, func(d ocispec.Descriptor) bool {
		return !slices.ContainsFunc(n.blobs, func(b ocispec.Descriptor) bool { return b.Digest == d.Digest })
	})
}
