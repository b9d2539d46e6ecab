// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// Progress counts during a run. Done never decreases, and reaches Total if nothing
// fails. Bytes that were mounted count as done.
type Progress struct {
	Total, Done, Mounted atomic.Int64 // bytes
	Images, ImagesDone   atomic.Int64
}

// maxRepositoryRequests is the number of concurrent requests about repositories, whose
// quota is far below that of requests for content.
const maxRepositoryRequests = 8

// Run carries out a plan. A failure is recorded in the items of the images that it
// concerns, and the others are copied. An error means that the context ended.
// progress may be nil.
func (m *Mirror) Run(ctx context.Context, p *Plan, progress *Progress) error {
	if progress == nil {
		progress = &Progress{}
	}
	m.createRepositories(ctx, p)
	r := newRun(m, p, progress)
	progress.Total.Store(p.Upload + p.Mount)
	progress.Images.Store(int64(len(r.lastTasks)))
	r.schedule.run(ctx, m.parallel())
	for i, t := range r.lastTasks {
		if t.err != nil {
			m.failRun(i, t.err)
			continue
		}
		i.State = StateCopied
	}
	return context.Cause(ctx)
}

// failRun records and reports that the copy of an image failed.
func (m *Mirror) failRun(i *Item, err error) {
	response, isResponse := errors.AsType[*registry.ResponseError](err)
	switch {
	case errors.Is(err, registry.ErrImmutable):
		err = fmt.Errorf("%w: to replace it, delete it in the registry first", err)
	case isResponse && i.Chart != nil && (response.StatusCode == http.StatusBadRequest || response.StatusCode == http.StatusUnsupportedMediaType):
		err = fmt.Errorf("%w: it may be a registry that takes images alone, and no Helm charts: leave out --charts, or use a registry for OCI artifacts", err)
	}
	i.fail(err)
	m.emit(Event{Kind: EventFailed, Source: i.Source, Target: i.Target, Digest: i.desc.Digest.String(), Message: err.Error()})
}

// createRepositories creates the missing repositories. Images whose repository cannot
// be created fail, and are removed from the plan.
func (m *Mirror) createRepositories(ctx context.Context, p *Plan) {
	errs := make([]error, len(p.Create))
	var all errgroup.Group
	all.SetLimit(maxRepositoryRequests)
	for n, name := range p.Create {
		all.Go(func() error {
			if errs[n] = m.Repositories.Create(ctx, name); errs[n] == nil {
				m.emit(Event{Kind: EventCreated, Target: name})
			}
			return nil
		})
	}
	_ = all.Wait() // the errors are those of the images
	failed := map[string]error{}
	for n, name := range p.Create {
		if errs[n] != nil {
			failed[name] = errs[n]
		}
	}
	if len(failed) == 0 {
		return
	}
	for _, i := range p.toCopy {
		if err := failed[i.target().Repository]; err != nil {
			m.failRun(i, err)
		}
	}
	p.dropFailed()
	for _, b := range p.blobs {
		maps.DeleteFunc(b.neededBy, func(repository string, _ bool) bool { return failed[repository] != nil })
	}
}

// verifyTarget resolves the target of a copied image again: a successful PUT is no
// proof that the tag refers to the image.
func (r *run) verifyTarget(ctx context.Context, i *Item) error {
	target := i.target()
	d, err := registry.ResolveWritten(ctx, r.m.Target, target.Repository, target.Identifier())
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
