// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Progress counts while a run goes on. Done never falls, and ends at Total if
// nothing fails. Bytes that the target shares count as done, too.
type Progress struct {
	Total, Done, Mounted atomic.Int64 // bytes
	Images, ImagesDone   atomic.Int64
}

// Run does what the plan says. What is wrong with one image is in its item, and
// the others go on; an error means that nothing was tried, or that the context
// ended.
func (m *Mirror) Run(ctx context.Context, p *Plan, progress *Progress) error {
	if progress == nil {
		progress = &Progress{}
	}
	if err := m.create(ctx, p.Create); err != nil {
		return err
	}
	r := newRun(m, p, progress)
	progress.Total.Store(p.Upload + p.Mount)
	progress.Images.Store(int64(len(r.last)))
	r.schedule.run(ctx, m.parallel())
	for i, t := range r.last {
		i.State, i.Err = StateCopied, t.err
		if t.err != nil {
			i.State = StateFailed
			m.emit(Event{Kind: EventFailed, Source: i.Source, Target: i.Target, Digest: i.desc.Digest.String(), Message: t.err.Error()})
		}
	}
	return context.Cause(ctx)
}

func (m *Mirror) create(ctx context.Context, repositories []string) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(8)
	for _, name := range repositories {
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

// finish is the last step of an image: the target is asked what the name stands
// for now, because an answer to a write may lie.
func (r *run) finish(ctx context.Context, i *Item) error {
	target := rewrite.SplitReference(i.Target)
	d, err := r.m.Target.Resolve(ctx, target.Repository, target.Identifier())
	if err != nil {
		return err
	}
	if d.Digest != i.desc.Digest {
		return fmt.Errorf("%s stands for %s, although %s was written: somebody else writes there", i.Target, d.Digest, i.desc.Digest)
	}
	r.progress.ImagesDone.Add(1)
	r.m.emit(Event{Kind: EventCopied, Source: i.Source, Target: i.Target, Digest: i.desc.Digest.String()})
	return nil
}
