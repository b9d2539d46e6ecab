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
)

// Content is all that a set of images consists of. Each manifest and blob is listed
// once.
type Content struct {
	// Lock lists the images that were read, and those that failed as not copied.
	Lock *lock.Lock
	// Failed are the images that could not be read.
	Failed    []*Item
	Manifests []Manifest // sorted by digest
	Blobs     []Blob     // sorted by digest
	// Referrers lists, by the digest of a manifest, what refers to it.
	Referrers map[digest.Digest][]ocispec.Descriptor
	// SignatureTags are tags of the form sha256-….sig, each with its manifest.
	SignatureTags map[string]ocispec.Descriptor
}

// Manifest is a manifest or an index.
type Manifest struct {
	Descriptor ocispec.Descriptor
	Raw        []byte
}

// Blob is a configuration or a layer, and a repository of the source that has it.
type Blob struct {
	Descriptor ocispec.Descriptor
	Repository string
}

// ReadContent reads what images consist of, except for their blobs. It does not use
// the target. Images that cannot be read are in Content.Failed; it is an error if none
// can be read. prefix and old are as for BuildLock.
func (m *Mirror) ReadContent(ctx context.Context, jobs []Job, prefix string, old *lock.Lock) (*Content, error) {
	items, err := m.readImages(ctx, jobs)
	if err != nil {
		return nil, err
	}
	failConflicts(items)
	c := &Content{Referrers: map[digest.Digest][]ocispec.Descriptor{}, SignatureTags: map[string]ocispec.Descriptor{}}
	var read []*Item
	var errs []error
	for _, i := range items {
		if i.Err == nil {
			read = append(read, i)
			continue
		}
		c.Failed = append(c.Failed, i)
		errs = append(errs, fmt.Errorf("%s: %w", i.Source, i.Err))
	}
	if len(read) == 0 {
		return nil, errors.Join(errs...)
	}
	c.Lock = m.BuildLock(prefix, &Plan{Items: read}, old)
	c.Lock.NotCopied = m.BuildLock(prefix, &Plan{Items: c.Failed}, nil).NotCopied
	c.addContents(read)
	for _, i := range read {
		for _, r := range i.referrers {
			c.addReferrer(r)
		}
	}
	return c, nil
}

// readImages reads all images. The error is that of the context.
func (m *Mirror) readImages(ctx context.Context, jobs []Job) ([]*Item, error) {
	items := make([]*Item, len(jobs))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(m.parallel())
	progress := m.planning()
	progress.Images.Store(int64(len(jobs)))
	for n, j := range jobs {
		i := &Item{Job: j}
		items[n] = i
		all.Go(func() error {
			if err := m.readForArchive(ctx, i); err != nil {
				i.fail(err)
			}
			progress.ImagesDone.Add(1)
			return context.Cause(ctx)
		})
	}
	return items, all.Wait()
}

func (m *Mirror) readForArchive(ctx context.Context, i *Item) error {
	if i.Refused != nil {
		return i.Refused
	}
	if err := m.resolveSource(ctx, i); err != nil {
		return err
	}
	return m.readImage(ctx, i)
}

func (c *Content) addContents(items []*Item) {
	manifests, blobs := map[digest.Digest]Manifest{}, map[digest.Digest]Blob{}
	for _, i := range items {
		repository := i.source().Repository
		i.walk(func(n *node) {
			manifests[n.desc.Digest] = Manifest{n.desc, n.raw}
			for _, d := range n.blobs {
				if _, ok := blobs[d.Digest]; !ok {
					blobs[d.Digest] = Blob{d, repository}
				}
			}
		})
	}
	for _, d := range slices.Sorted(maps.Keys(manifests)) {
		c.Manifests = append(c.Manifests, manifests[d])
	}
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		c.Blobs = append(c.Blobs, blobs[d])
	}
}

func (c *Content) addReferrer(r *referrer) {
	if r.tag != "" {
		c.SignatureTags[r.tag] = r.desc
		return
	}
	known := c.Referrers[r.subject]
	if !slices.ContainsFunc(known, func(d ocispec.Descriptor) bool { return d.Digest == r.desc.Digest }) {
		c.Referrers[r.subject] = append(known, r.desc)
	}
}
