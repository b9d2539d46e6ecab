// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Progress counts during a run. Done never decreases, and reaches Total if nothing
// fails. Bytes that were mounted count as done.
type Progress struct {
	Total, Done, Mounted atomic.Int64 // bytes
	Images, ImagesDone   atomic.Int64
}

// Run carries out a plan. A failure that concerns one image is recorded in its item,
// and the others are copied. An error means that nothing was copied, or that the
// context ended. progress may be nil.
func (m *Mirror) Run(ctx context.Context, p *Plan, progress *Progress) error {
	if progress == nil {
		progress = &Progress{}
	}
	if err := m.createRepositories(ctx, p.Create); err != nil {
		return err
	}
	r := newRun(m, p, progress)
	progress.Total.Store(p.Upload + p.Mount)
	progress.Images.Store(int64(len(r.lastTasks)))
	r.schedule.run(ctx, m.parallel())
	for i, t := range r.lastTasks {
		i.State, i.Err = StateCopied, t.err
		if t.err != nil {
			i.State = StateFailed
			m.emit(Event{Kind: EventFailed, Source: i.Source, Target: i.Target, Digest: i.desc.Digest.String(), Message: t.err.Error()})
		}
	}
	return context.Cause(ctx)
}

func (m *Mirror) createRepositories(ctx context.Context, names []string) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(8)
	for _, name := range names {
		all.Go(func() error {
			if err := m.Repositories.Create(ctx, name); err != nil {
				return err
			}
			m.emit(Event{Kind: EventCreated, Target: name})
			return nil
		})
	}
	return all.Wait()
}

// verifyTarget resolves the target of a copied image again: a successful PUT is no
// proof that the tag refers to the image.
func (r *run) verifyTarget(ctx context.Context, i *Item) error {
	target := i.target()
	d, err := r.m.Target.Resolve(ctx, target.Repository, target.Identifier())
	if err != nil {
		return err
	}
	if d.Digest != i.desc.Digest {
		return fmt.Errorf("%s is %s after %s was written: another client writes to the same tag", i.Target, d.Digest, i.desc.Digest)
	}
	r.progress.ImagesDone.Add(1)
	r.m.emit(Event{Kind: EventCopied, Source: i.Source, Target: i.Target, Digest: i.desc.Digest.String()})
	return nil
}
