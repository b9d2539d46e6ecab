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

// maxAttempts is how often a blob or a manifest is written at most.
const maxAttempts = 5

// upload is one blob on its way into one repository.
type upload struct {
	repository string
	progress   *Progress
	furthest   int64 // offset that any attempt has reached
	err        error // of the last attempt
}

// reach counts progress, which does not decrease when another attempt begins.
func (u *upload) reach(offset int64) {
	if offset > u.furthest {
		u.progress.Done.Add(offset - u.furthest)
		u.furthest = offset
	}
}

// uploadBlob is the work of a batch: it reads a blob once and uploads it to the
// repositories of all tasks. Failed uploads are repeated. It returns an error for
// each task.
func (r *run) uploadBlob(ctx context.Context, b *blob, tasks []*task) []error {
	uploads := make([]*upload, len(tasks))
	for i, t := range tasks {
		uploads[i] = &upload{repository: t.repository, progress: r.progress}
	}
	remaining := slices.Clone(uploads)
	for attempt := 1; len(remaining) > 0; attempt++ {
		r.transfer(ctx, b, remaining)
		remaining = slices.DeleteFunc(remaining, func(u *upload) bool { return u.err == nil || !r.prepareRetry(ctx, u, attempt) })
		if len(remaining) == 0 || registry.Sleep(ctx, registry.Backoff(attempt)) != nil {
			break
		}
		// An upload that was cut off may nevertheless have been completed.
		remaining = slices.DeleteFunc(remaining, func(u *upload) bool { return r.wasCompleted(ctx, b, u) })
	}
	errs := make([]error, len(uploads))
	for i, u := range uploads {
		errs[i] = u.err
	}
	return errs
}

// prepareRetry creates the repository again if it was deleted, and reports whether
// another attempt can succeed.
func (r *run) prepareRetry(ctx context.Context, u *upload, attempt int) bool {
	if ctx.Err() != nil {
		return false
	}
	if attempt == 1 && r.wasRepositoryDeleted(ctx, u) {
		return r.m.Repositories.Create(ctx, u.repository) == nil
	}
	return isWorthRetrying(u.err, attempt)
}

func (r *run) wasRepositoryDeleted(ctx context.Context, u *upload) bool {
	var failed *registry.Error
	switch {
	case r.m.Repositories == nil:
		return false
	case errors.Is(u.err, registry.ErrNotFound):
		return errors.As(u.err, &failed) && failed.Repository == u.repository
	case errors.Is(u.err, registry.ErrTransient):
		missing, err := r.m.Repositories.Missing(ctx, []string{u.repository})
		return err == nil && len(missing) > 0
	default:
		return false
	}
}

// isWorthRetrying reports whether an error may not occur in the next attempt.
func isWorthRetrying(err error, attempt int) bool {
	switch {
	case attempt >= maxAttempts:
		return false
	case errors.Is(err, registry.ErrCorrupt):
		return attempt == 1 // once is a transmission error, twice a corrupt source
	case errors.Is(err, registry.ErrAuth):
		return attempt <= 2 // the token may have expired during the transfer
	default:
		return registry.Retryable(err)
	}
}

func (r *run) wasCompleted(ctx context.Context, b *blob, u *upload) bool {
	exists, err := r.m.Target.HasBlob(ctx, u.repository, b.desc)
	if !exists || err != nil {
		return false
	}
	u.err = nil
	u.reach(b.desc.Size)
	return true
}

// transfer reads a blob once and sets the result of each upload.
func (r *run) transfer(ctx context.Context, b *blob, uploads []*upload) {
	body, err := r.m.Source.Blob(ctx, b.source, b.desc)
	if err != nil {
		for _, u := range uploads {
			u.err = err
		}
		return
	}
	defer body.Close()
	source := &errCapturingReader{Reader: body}
	if len(uploads) == 1 {
		r.uploadTo(ctx, b, source, uploads[0])
	} else {
		r.fanOut(ctx, b, source, uploads)
	}
	for _, u := range uploads {
		switch {
		case u.err == nil:
			u.reach(b.desc.Size) // the target may not have read all of it
		case source.err != nil:
			u.err = source.err
		}
	}
}

func (r *run) uploadTo(ctx context.Context, b *blob, content io.Reader, u *upload) {
	u.err = r.m.Target.Upload(ctx, u.repository, b.desc, &countingReader{Reader: content, upload: u})
}

// fanOut feeds several uploads from one source. An upload that fails does not stop
// the others.
func (r *run) fanOut(ctx context.Context, b *blob, source io.Reader, uploads []*upload) {
	var running sync.WaitGroup
	pipes := make([]*io.PipeWriter, len(uploads))
	for i, u := range uploads {
		reader, writer := io.Pipe()
		pipes[i] = writer
		running.Go(func() {
			r.uploadTo(ctx, b, reader, u)
			_ = reader.CloseWithError(io.ErrClosedPipe) // unblocks the writer
		})
	}
	err := copyToAll(pipes, source)
	for _, p := range pipes {
		_ = p.CloseWithError(err) // nil is io.EOF
	}
	running.Wait()
}

const chunkSize = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// copyToAll copies the source to all pipes that are not closed. It returns the error
// of the source.
func copyToAll(pipes []*io.PipeWriter, source io.Reader) error {
	buffer := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buffer)
	open := slices.Clone(pipes)
	for len(open) > 0 {
		n, err := fill(source, buffer[:])
		if n > 0 {
			open = slices.DeleteFunc(open, func(p *io.PipeWriter) bool {
				_, err := p.Write(buffer[:n])
				return err != nil
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

// fill reads until the buffer is full. Unlike io.ReadFull it returns the error of
// the source unchanged.
func fill(source io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = source.Read(buffer[n:])
		n += more
	}
	return n, err
}

// countingReader counts the progress of an upload.
type countingReader struct {
	io.Reader
	offset int64
	upload *upload
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.offset += int64(n)
	c.upload.reach(c.offset)
	return n, err
}

// errCapturingReader keeps the error of a source, because net/http wraps or replaces
// it.
type errCapturingReader struct {
	io.Reader
	err error
}

func (r *errCapturingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
