// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
)

// writer puts everything into its place.
type writer struct {
	layout   *layout
	file     *pending
	from     mirror.Source
	progress *mirror.Progress
	parallel int

	fetched, kept atomic.Int64
}

// blobs are the entries that have to be fetched.
func (w *writer) blobs() (all []*entry) {
	for _, e := range w.layout.entries {
		if e.blob != nil {
			all = append(all, e)
		}
	}
	return all
}

// all writes the archive. A blob that cannot be read does not hold the others up,
// for the next try needs them all the same. A disk that takes nothing more does.
func (w *writer) all(ctx context.Context) error {
	blobs := w.blobs()
	for _, e := range blobs {
		w.progress.Total.Add(e.size)
	}
	if err := w.frame(); err != nil {
		return w.explain(err)
	}
	// The largest first, so that no large one is left alone at the end.
	slices.SortStableFunc(blobs, func(a, b *entry) int { return cmp.Compare(b.size, a.size) })
	errs := make([]error, len(blobs))
	all, group := errgroup.WithContext(ctx)
	all.SetLimit(w.parallel)
	for n, e := range blobs {
		all.Go(func() error {
			if group.Err() != nil {
				return context.Cause(group)
			}
			err := w.blob(group, e)
			var disk *diskError
			if errors.As(err, &disk) {
				return err
			}
			if err != nil {
				errs[n] = err
			}
			return context.Cause(group)
		})
	}
	if err := all.Wait(); err != nil {
		return w.explain(err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nall the rest is in %s: run the same again, and only what is missing is fetched", err, w.file.working[0])
	}
	return nil
}

// frame writes all that is no blob: headers, texts, and the zeros that fill
// blocks, where a file of an earlier try may have something else.
func (w *writer) frame() error {
	for _, e := range w.layout.entries {
		head := e.header
		if e.blob == nil {
			head = slices.Concat(e.header, e.text, make([]byte, e.padding()))
		} else if err := w.write(make([]byte, e.padding()), e.data()+e.size); err != nil {
			return err
		}
		if err := w.write(head, e.offset); err != nil {
			return err
		}
	}
	return w.write(make([]byte, 2*block), w.layout.size-2*block)
}

func (w *writer) write(b []byte, off int64) error {
	if _, err := w.file.WriteAt(b, off); err != nil {
		return &diskError{err}
	}
	return nil
}

// diskError is a write that failed, in contrast to a read from the source.
type diskError struct{ cause error }

func (e *diskError) Error() string { return e.cause.Error() }
func (e *diskError) Unwrap() error { return e.cause }

// explain says of a failed write what can be done.
func (w *writer) explain(err error) error {
	var disk *diskError
	switch missing := w.progress.Total.Load() - w.fetched.Load() - w.kept.Load(); {
	case !errors.As(err, &disk):
		return err
	case full(err):
		return fmt.Errorf("the disk is full: %w; %s of %s are still missing: make room and run the same again, what is in %s is kept",
			err, size(missing), size(w.layout.size), w.file.working[0])
	case tooLarge(err):
		return fmt.Errorf("%w: the file system takes no file of this size; make smaller parts with --split (FAT32 takes 4095M)", err)
	}
	return err
}

// blob brings a blob into its place, unless it is there.
func (w *writer) blob(ctx context.Context, e *entry) error {
	if w.file.resumed && w.has(ctx, e) {
		w.kept.Add(e.size)
		w.progress.Done.Add(e.size)
		return nil
	}
	var reached int64 // by all tries: progress never falls
	for try := 1; ; try++ {
		err := w.fetch(ctx, e, &reached)
		if err == nil {
			w.fetched.Add(e.size)
			return nil
		}
		var disk *diskError
		// The source has tried several times by itself. Corrupt content is worth
		// another try: a bad line is; a bad source is so twice.
		if try == 2 || ctx.Err() != nil || errors.As(err, &disk) || !errors.Is(err, registry.ErrCorrupt) && !registry.Retryable(err) {
			return err
		}
	}
}

const chunk = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// has tells whether a blob is in its place: whether what is there has the digest.
func (w *writer) has(ctx context.Context, e *entry) bool {
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	there := io.NewSectionReader(w.file, e.data(), e.size)
	// Blobs are written from their beginning on. Where there are zeros, nothing was,
	// and reading all of a hole takes long. If it was a blob of zeros, it is fetched.
	begin := buffer[:min(e.size, 4096)]
	if _, err := there.ReadAt(begin, 0); err != nil && !errors.Is(err, io.EOF) || len(bytes.Trim(begin, "\x00")) == 0 {
		return false
	}
	v := e.blob.Descriptor.Digest.Verifier()
	for ctx.Err() == nil {
		n, err := there.Read(buffer[:])
		_, _ = v.Write(buffer[:n]) // a hash takes all
		if errors.Is(err, io.EOF) {
			return v.Verified()
		}
		if err != nil {
			return false
		}
	}
	return false
}

// fetch reads a blob from the source into its place. The source checks the
// digest.
func (w *writer) fetch(ctx context.Context, e *entry, reached *int64) error {
	body, err := w.from.Blob(ctx, e.blob.Repository, e.blob.Descriptor)
	if err != nil {
		return err
	}
	defer body.Close()
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	for done := int64(0); ; {
		n, err := body.Read(buffer[:])
		if done+int64(n) > e.size {
			return fmt.Errorf("%s in %s is longer than %d bytes: %w", e.blob.Descriptor.Digest, e.blob.Repository, e.size, registry.ErrCorrupt)
		}
		if n > 0 {
			if err := w.write(buffer[:n], e.data()+done); err != nil {
				return err
			}
		}
		if done += int64(n); done > *reached {
			w.progress.Done.Add(done - *reached)
			*reached = done
		}
		switch {
		case errors.Is(err, io.EOF) && done < e.size:
			return fmt.Errorf("%s in %s ends at byte %d of %d: %w", e.blob.Descriptor.Digest, e.blob.Repository, done, e.size, io.ErrUnexpectedEOF)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
