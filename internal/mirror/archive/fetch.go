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

// writer writes the entries of a layout to a file.
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

// writeAll writes the archive. A blob that cannot be read does not stop the others,
// because a resumed export keeps them. A disk error does.
func (w *writer) writeAll(ctx context.Context) error {
	blobs := w.blobs()
	for _, e := range blobs {
		w.progress.Total.Add(e.size)
	}
	if err := w.writeFrame(); err != nil {
		return w.explainDiskError(err)
	}
	// The largest first, so that no large transfer remains for the end.
	slices.SortStableFunc(blobs, func(a, b *entry) int { return cmp.Compare(b.size, a.size) })
	errs := make([]error, len(blobs))
	all, group := errgroup.WithContext(ctx)
	all.SetLimit(w.parallel)
	for n, e := range blobs {
		all.Go(func() error {
			if group.Err() != nil {
				return context.Cause(group)
			}
			err := w.writeBlob(group, e)
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
		return w.explainDiskError(err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nthe other blobs are in %s: run the same command again to fetch only what is missing", err, w.file.working[0])
	}
	return nil
}

// writeFrame writes all but the blobs: headers, texts and padding. A file of an
// interrupted export may have other bytes there.
func (w *writer) writeFrame() error {
	for _, e := range w.layout.entries {
		head := e.header
		if e.blob == nil {
			head = slices.Concat(e.header, e.text, make([]byte, e.padding()))
		} else if err := w.write(make([]byte, e.padding()), e.contentOffset()+e.size); err != nil {
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

// explainDiskError adds the remedy to an error of the disk.
func (w *writer) explainDiskError(err error) error {
	var disk *diskError
	switch missing := w.progress.Total.Load() - w.fetched.Load() - w.kept.Load(); {
	case !errors.As(err, &disk):
		return err
	case isDiskFull(err):
		return fmt.Errorf("the disk is full: %w; %s of %s are still missing: free some space and run the same command again; the content of %s is kept",
			err, formatSize(missing), formatSize(w.layout.size), w.file.working[0])
	case isFileTooLarge(err):
		return fmt.Errorf("%w: the file system does not support files of this size: use smaller parts with --split (4095M for FAT32)", err)
	}
	return err
}

// writeBlob fetches a blob, unless an interrupted export has fetched it.
func (w *writer) writeBlob(ctx context.Context, e *entry) error {
	if w.file.resumed && w.isFetched(ctx, e) {
		w.kept.Add(e.size)
		w.progress.Done.Add(e.size)
		return nil
	}
	var furthest int64 // offset of all attempts: progress does not decrease
	for attempt := 1; ; attempt++ {
		err := w.fetch(ctx, e, &furthest)
		if err == nil {
			w.fetched.Add(e.size)
			return nil
		}
		var disk *diskError
		// The source retries by itself, except for corrupt content: once may be a
		// transmission error.
		if attempt == 2 || ctx.Err() != nil || errors.As(err, &disk) || !errors.Is(err, registry.ErrCorrupt) && !registry.Retryable(err) {
			return err
		}
	}
}

const chunk = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// isFetched reports whether the content at the offset of a blob has its digest.
func (w *writer) isFetched(ctx context.Context, e *entry) bool {
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	content := io.NewSectionReader(w.file, e.contentOffset(), e.size)
	// Blobs are written from the beginning, so zeros mean that nothing was written, and
	// reading a large hole takes long. A blob that begins with zeros is fetched again.
	begin := buffer[:min(e.size, 4096)]
	if _, err := content.ReadAt(begin, 0); err != nil && !errors.Is(err, io.EOF) || len(bytes.Trim(begin, "\x00")) == 0 {
		return false
	}
	v := e.blob.Descriptor.Digest.Verifier()
	for ctx.Err() == nil {
		n, err := content.Read(buffer[:])
		_, _ = v.Write(buffer[:n]) // a hash does not fail
		if errors.Is(err, io.EOF) {
			return v.Verified()
		}
		if err != nil {
			return false
		}
	}
	return false
}

// fetch writes a blob of the source to its offset. The source verifies the digest.
func (w *writer) fetch(ctx context.Context, e *entry, furthest *int64) error {
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
			if err := w.write(buffer[:n], e.contentOffset()+done); err != nil {
				return err
			}
		}
		if done += int64(n); done > *furthest {
			w.progress.Done.Add(done - *furthest)
			*furthest = done
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
