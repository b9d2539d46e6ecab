// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// tries is how often a blob or a manifest is written anew.
const tries = 5

// write does a batch: one read of the blob feeds the writes to several
// repositories. Those that fail are tried again, by themselves. It returns an
// error for each.
func (r *run) write(ctx context.Context, b *blob, tasks []*task) []error {
	errs := make([]error, len(tasks))
	writes := make([]*writing, len(tasks))
	for i, t := range tasks {
		writes[i] = &writing{repository: t.repository, progress: r.progress, err: &errs[i]}
	}
	for failures := 1; ; failures++ {
		r.transfer(ctx, b, writes)
		writes = slices.DeleteFunc(writes, func(w *writing) bool { return *w.err == nil || !r.worthAnother(ctx, w, failures) })
		if len(writes) == 0 || registry.Sleep(ctx, registry.Backoff(failures)) != nil {
			return errs
		}
		// What was cut off may have arrived before that.
		writes = slices.DeleteFunc(writes, func(w *writing) bool {
			has, err := r.m.Target.HasBlob(ctx, w.repository, b.desc)
			if has && err == nil {
				*w.err = nil
				w.reach(b.desc.Size)
			}
			return has && err == nil
		})
		if len(writes) == 0 {
			return errs
		}
	}
}

// worthAnother tells whether another try can help. A repository that is gone is
// made again.
func (r *run) worthAnother(ctx context.Context, w *writing, failures int) bool {
	var failed *registry.Error
	switch err := *w.err; {
	case failures >= tries || ctx.Err() != nil:
		return false
	case errors.Is(err, registry.ErrCorrupt):
		return failures == 1 // a bad line; twice is a bad source
	case errors.Is(err, registry.ErrNotFound) && errors.As(err, &failed) && failed.Repository == w.repository && r.m.Repositories != nil && failures == 1:
		return r.m.Repositories.Create(ctx, w.repository) == nil
	case errors.Is(err, registry.ErrAuth):
		return failures <= 2 // a token that expired on the way
	case errors.Is(err, registry.ErrTransient) && r.m.Repositories != nil && failures == 1:
		missing, err := r.m.Repositories.Missing(ctx, []string{w.repository})
		return err != nil || len(missing) == 0 || r.m.Repositories.Create(ctx, w.repository) == nil
	default:
		return registry.Retryable(err)
	}
}

// writing is a blob on its way into one repository.
type writing struct {
	repository string
	progress   *Progress
	err        *error
	reached    int64 // the furthest of all tries
}

// reach counts progress, which does not fall when a try begins anew.
func (w *writing) reach(offset int64) {
	if offset > w.reached {
		w.progress.Done.Add(offset - w.reached)
		w.reached = offset
	}
}

// counted tells a writing how far it is.
type counted struct {
	io.Reader
	offset int64
	w      *writing
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.offset += int64(n)
	c.w.reach(c.offset)
	return n, err
}

// remembering keeps the error of a source, which net/http wraps into one of its
// own, or replaces.
type remembering struct {
	io.Reader
	err error
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// transfer reads a blob once and writes it to all.
func (r *run) transfer(ctx context.Context, b *blob, writes []*writing) {
	body, err := r.m.Source.Blob(ctx, b.source, b.desc)
	if err != nil {
		for _, w := range writes {
			*w.err = err
		}
		return
	}
	defer body.Close()
	source := &remembering{Reader: body}
	if len(writes) == 1 {
		*writes[0].err = r.m.Target.Upload(ctx, writes[0].repository, b.desc, &counted{Reader: source, w: writes[0]})
	} else {
		r.fan(ctx, b, source, writes)
	}
	for _, w := range writes {
		switch {
		case *w.err == nil:
			w.reach(b.desc.Size) // also where the target needed no byte of it
		case source.err != nil:
			*w.err = source.err
		}
	}
}

// fan feeds several uploads from one source. One that fails does not hold the
// others up.
func (r *run) fan(ctx context.Context, b *blob, source io.Reader, writes []*writing) {
	var uploads sync.WaitGroup
	pipes := make([]*io.PipeWriter, len(writes))
	for i, w := range writes {
		reader, writer := io.Pipe()
		pipes[i] = writer
		uploads.Go(func() {
			err := r.m.Target.Upload(ctx, w.repository, b.desc, &counted{Reader: reader, w: w})
			*w.err = err
			_ = reader.CloseWithError(io.ErrClosedPipe) // whoever still writes is told
		})
	}
	err := spread(source, pipes)
	for _, p := range pipes {
		_ = p.CloseWithError(err) // nil is the end of the file
	}
	uploads.Wait()
}

const chunk = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// spread copies to all pipes that still take something. It returns the error of
// the source.
func spread(source io.Reader, pipes []*io.PipeWriter) error {
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	live := slices.Clone(pipes)
	for len(live) > 0 {
		n, err := fill(source, buffer[:])
		if n > 0 {
			live = slices.DeleteFunc(live, func(p *io.PipeWriter) bool {
				_, failed := p.Write(buffer[:n])
				return failed != nil
			})
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fill reads until the buffer is full. Unlike io.ReadFull it tells an end from an
// end too early.
func fill(source io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = source.Read(buffer[n:])
		n += more
	}
	return n, err
}

// mount lets a repository share what another one has. Where the target does not
// do that, the blob is written like any other; and when it has refused several
// times and never agreed, nothing waits for a mount any more.
func (r *run) mount(ctx context.Context, b *blob, t *task, from string, written bool) error {
	if !r.shares.Load() {
		return again{t.instead}
	}
	ok, err := r.m.Target.Mount(ctx, t.repository, from, b.desc)
	switch {
	case ok:
		r.hits.Add(1)
		r.progress.Mounted.Add(b.desc.Size)
		r.progress.Done.Add(b.desc.Size)
		return nil
	case ctx.Err() != nil:
		return err
	case written && r.misses.Add(1) >= 3 && r.hits.Load() == 0 && r.shares.CompareAndSwap(true, false):
		r.schedule.release(r.mounts)
	}
	return again{t.instead}
}

// writeManifest writes a manifest under each of its tags, or without one.
func (r *run) writeManifest(ctx context.Context, at place, n *node) error {
	tags := r.tags[at]
	if len(tags) == 0 {
		tags = []string{""}
	}
	for _, tag := range tags {
		if err := r.putManifest(ctx, at.repository, n, tag); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) putManifest(ctx context.Context, repository string, n *node, tag string) error {
	for failures := 1; ; failures++ {
		err := r.m.Target.PutManifest(ctx, repository, n.desc, n.text, tag)
		if errors.Is(err, registry.ErrImmutable) {
			// ECR refuses the same image under the same immutable tag, too.
			if d, failed := r.m.Target.Resolve(ctx, repository, tag); failed == nil && d.Digest == n.desc.Digest {
				return nil
			}
		}
		if err == nil || failures >= tries || !registry.Retryable(err) {
			return err
		}
		if registry.Sleep(ctx, registry.Backoff(failures)) != nil {
			return err
		}
		// A registry may be slow to see what it was given; later it is lost.
		if failures == 3 && errors.Is(err, registry.ErrIncomplete) {
			if err := r.repair(ctx, repository, n); err != nil {
				return err
			}
		}
	}
}

// repair writes once more what the target has lost.
func (r *run) repair(ctx context.Context, repository string, n *node) error {
	for _, c := range n.children {
		if err := r.m.Target.PutManifest(ctx, repository, c.desc, c.text, ""); err != nil {
			return err
		}
	}
	for _, d := range n.blobs {
		has, err := r.m.Target.HasBlob(ctx, repository, d)
		if err == nil && !has {
			var failed error
			r.transfer(ctx, r.plan.blobs[d.Digest], []*writing{{repository: repository, progress: &Progress{}, err: &failed}})
			err = failed
		}
		if err != nil {
			return err
		}
	}
	return nil
}
