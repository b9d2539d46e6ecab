// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// inspectTarget finds the repositories and blobs that the target lacks. Images about
// which the target does not tell fail, and are removed from those to be copied. An
// error means that the context ended.
func (m *Mirror) inspectTarget(ctx context.Context, p *Plan) error {
	if err := m.findRepositories(ctx, p); err != nil {
		return err
	}
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
	missing, failed := m.missingRepositories(ctx, slices.Compact(names))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, i := range p.toCopy {
		if err := failed[i.target().Repository]; err != nil {
			i.fail(err)
		}
	}
	p.dropFailed()
	p.Create = missing
	var err error
	if p.sharesBlobs, err = m.Repositories.SharesBlobs(ctx); err != nil {
		// Without mounts, the blobs are uploaded.
		m.emit(Event{Kind: EventWarning, Target: names[0], Message: err.Error()})
	}
	return nil
}

// missingRepositories returns the repositories that do not exist, and the errors of
// those for which that cannot be found out.
func (m *Mirror) missingRepositories(ctx context.Context, names []string) (missing []string, failed map[string]error) {
	missing, err := m.Repositories.Missing(ctx, names)
	if err == nil {
		return missing, nil
	}
	if len(names) == 1 {
		return nil, map[string]error{names[0]: err}
	}
	// The error may concern one repository: ask for each.
	found := make([][]string, len(names))
	errs := make([]error, len(names))
	var all errgroup.Group
	all.SetLimit(maxRepositoryRequests)
	for n, name := range names {
		all.Go(func() error {
			found[n], errs[n] = m.Repositories.Missing(ctx, []string{name})
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs
	failed = map[string]error{}
	for n, name := range names {
		if errs[n] != nil {
			failed[name] = errs[n]
		}
	}
	return slices.Concat(found...), failed
}

// collectBlobs lists the blobs of all images to be copied.
func (p *Plan) collectBlobs() {
	p.blobs = map[digest.Digest]*blob{}
	for _, i := range p.toCopy {
		from, to := i.source().Repository, i.target().Repository
		i.walkNeeded(func(n *node) {
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

// findBlobs lists the blobs of all images to be copied, and removes those that the
// target has from those that are needed.
func (m *Mirror) findBlobs(ctx context.Context, p *Plan) error {
	p.collectBlobs()
	exists, failed, err := m.lookupBlobs(ctx, p)
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		failImages(p.toCopy, failed)
		p.dropFailed()
		p.collectBlobs()
	}
	for _, b := range p.blobs {
		for _, repository := range slices.Sorted(maps.Keys(b.neededBy)) {
			if exists[blobLocation{repository, b.desc.Digest}] {
				delete(b.neededBy, repository)
				b.presentIn = repository
			}
		}
	}
	return nil
}

// lookupBlobs asks the target for all blobs of a plan, except in repositories that
// have to be created. It returns those that exist, and the errors of those for which
// that cannot be found out.
func (m *Mirror) lookupBlobs(ctx context.Context, p *Plan) (exists map[blobLocation]bool, failed map[blobLocation]error, err error) {
	var locations []blobLocation
	for d, b := range p.blobs {
		for repository := range b.neededBy {
			if !slices.Contains(p.Create, repository) {
				locations = append(locations, blobLocation{repository, d})
			}
		}
	}
	found := make([]bool, len(locations))
	errs := make([]error, len(locations))
	progress := m.planning()
	progress.Blobs.Store(int64(len(locations)))
	var all errgroup.Group
	all.SetLimit(m.parallel())
	for n, at := range locations {
		all.Go(func() error {
			found[n], errs[n] = m.Target.HasBlob(ctx, at.repository, p.blobs[at.digest].desc)
			progress.BlobsDone.Add(1)
			return context.Cause(ctx)
		})
	}
	if err := all.Wait(); err != nil {
		return nil, nil, err
	}
	exists, failed = map[blobLocation]bool{}, map[blobLocation]error{}
	for n, at := range locations {
		if exists[at] = found[n]; errs[n] != nil {
			failed[at] = errs[n]
		}
	}
	return exists, failed, nil
}

// failImages fails the images that need any of the failed blobs.
func failImages(items []*Item, failed map[blobLocation]error) {
	for _, i := range items {
		repository := i.target().Repository
		i.walkNeeded(func(n *node) {
			for _, d := range n.blobs {
				if err := failed[blobLocation{repository, d.Digest}]; err != nil {
					i.fail(err)
				}
			}
		})
	}
}
