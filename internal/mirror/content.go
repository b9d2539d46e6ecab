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
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Content is all that a set of images consists of, each manifest and blob once.
type Content struct {
	Lock      *lock.Lock
	Manifests []Manifest // by digest
	Blobs     []Blob     // by digest
	// Referrers lists, by the digest of a manifest, what refers to it.
	Referrers map[digest.Digest][]ocispec.Descriptor
	// SignatureTags are tags of the kind sha256-….sig, each with its manifest.
	SignatureTags map[string]ocispec.Descriptor
}

// Manifest is a manifest or an index with its text.
type Manifest struct {
	Descriptor ocispec.Descriptor
	Text       []byte
}

// Blob is a configuration or a layer, and a repository of the source that has it.
type Blob struct {
	Descriptor ocispec.Descriptor
	Repository string
}

// ReadContent reads what images consist of, all but the blobs. No target is asked.
// Every image that cannot be read is named in the error. prefix and old are as
// for BuildLock.
func (m *Mirror) ReadContent(ctx context.Context, images []Job, prefix string, old *lock.Lock) (*Content, error) {
	items := make([]*Item, len(images))
	errs := make([]error, len(images))
	all, group := errgroup.WithContext(ctx)
	all.SetLimit(m.parallel())
	for n, image := range images {
		items[n] = &Item{Job: image}
		all.Go(func() error {
			if errs[n] = m.resolve(group, items[n]); errs[n] == nil {
				errs[n] = m.read(group, items[n])
			}
			if errs[n] != nil {
				errs[n] = fmt.Errorf("%s: %w", images[n].Source, errs[n])
			}
			return context.Cause(group)
		})
	}
	if err := errors.Join(all.Wait(), errors.Join(errs...)); err != nil {
		return nil, err
	}
	p := &Plan{Items: items}
	if err := m.unambiguous(p); err != nil {
		return nil, err
	}
	c := &Content{Lock: m.BuildLock(prefix, p, old), Referrers: map[digest.Digest][]ocispec.Descriptor{}, SignatureTags: map[string]ocispec.Descriptor{}}
	manifests, blobs := map[digest.Digest]Manifest{}, map[digest.Digest]Blob{}
	for _, i := range items {
		repository := rewrite.SplitReference(i.Source).Repository
		i.trees(func(n *node) {
			manifests[n.desc.Digest] = Manifest{n.desc, n.text}
			for _, d := range n.blobs {
				if _, ok := blobs[d.Digest]; !ok {
					blobs[d.Digest] = Blob{d, repository}
				}
			}
		})
		for _, r := range i.referrers {
			c.refer(r)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(manifests)) {
		c.Manifests = append(c.Manifests, manifests[d])
	}
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		c.Blobs = append(c.Blobs, blobs[d])
	}
	return c, nil
}

func (c *Content) refer(r referrer) {
	if r.tag != "" {
		c.SignatureTags[r.tag] = r.desc
		return
	}
	known := c.Referrers[r.subject]
	if !slices.ContainsFunc(known, func(d ocispec.Descriptor) bool { return d.Digest == r.desc.Digest }) {
		c.Referrers[r.subject] = append(known, r.desc)
	}
}
