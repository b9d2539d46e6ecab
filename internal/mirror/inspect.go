// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
)

// inspectTarget finds the repositories and blobs that the target lacks.
func (m *Mirror) inspectTarget(ctx context.Context, p *Plan) error {
	if err := m.findRepositories(ctx, p); err != nil {
		return err
	}
	p.collectBlobs()
	return m.findBlobs(ctx, p)
}

// findRepositories finds the repositories that do not exist.
func (m *Mirror) findRepositories(ctx context.Context, p *Plan) error {
	if m.Repositories == nil || len(p.toCopy) == 0 {
		return nil
	}
	var names []string
	for _, i := range p.toCopy {
		names = append(names, i.target().Repository)
	}
	slices.Sort(names)
	var err error
	if p.Create, err = m.Repositories.Missing(ctx, slices.Compact(names)); err != nil {
		return err
	}
	p.sharesBlobs, err = m.Repositories.SharesBlobs(ctx)
	return err
}

// collectBlobs lists the blobs of all images to be copied.
func (p *Plan) collectBlobs() {
	for _, i := range p.toCopy {
		from, to := i.source().Repository, i.target().Repository
		i.walk(func(n *node) {
			for _, d := range n.blobs {
				b, ok := p.blobs[d.Digest]
				if !ok {
					b = &blob{desc: d, source: from, neededBy: map[string]bool{}}
					p.blobs[d.Digest] = b
				}
				b.neededBy[to] = true
			}
		})
	}
}

// findBlobs removes the blobs that the target has from those that are needed.
// Repositories that have to be created are skipped.
func (m *Mirror) findBlobs(ctx context.Context, p *Plan) error {
	type lookup struct {
		blob       *blob
		repository string
		exists     bool
	}
	var lookups []*lookup
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(m.parallel())
	for _, b := range p.blobs {
		for repository := range b.neededBy {
			if slices.Contains(p.Create, repository) {
				continue
			}
			l := &lookup{blob: b, repository: repository}
			lookups = append(lookups, l)
			all.Go(func() (err error) {
				l.exists, err = m.Target.HasBlob(ctx, repository, b.desc)
				return err
			})
		}
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for _, l := range lookups {
		if l.exists {
			delete(l.blob.neededBy, l.repository)
			l.blob.presentIn = l.repository
		}
	}
	return nil
}
