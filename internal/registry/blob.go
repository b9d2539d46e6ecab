// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// Blob opens a blob for reading. Reads resume where a connection broke. Content is
// unverified until io.EOF: instead of it, Read returns ErrCorrupt if the content
// does not have the digest.
func (c *Client) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	b := &resumingReader{ctx: ctx, repository: r, name: repository, d: d, stallTimeout: c.opts.StallTimeout}
	if err := b.open(); err != nil {
		return nil, err
	}
	return Verified(b, d), nil
}

// resumingReader reads a blob with as many requests as necessary.
type resumingReader struct {
	ctx          context.Context
	repository   *remote.Repository
	name         string // of the repository
	d            ocispec.Descriptor
	stallTimeout time.Duration

	body     io.ReadCloser
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	offset   int64
	failures int // since data was last received
}

// open requests the rest of the blob.
func (b *resumingReader) open() error {
	ctx, cancel := context.WithCancelCause(b.ctx)
	body, err := b.repository.Blobs().Fetch(ctx, b.d)
	if err == nil && b.offset > 0 {
		err = skip(body, b.offset)
		if err != nil {
			err = errors.Join(err, body.Close())
		}
	}
	if err != nil {
		cancel(nil)
		return b.wrapError(err)
	}
	b.body, b.cancel = body, cancel
	b.watchdog = time.AfterFunc(b.stallTimeout, func() { cancel(errStalled) })
	return nil
}

// skip advances to an offset, with a range request if the registry supports it.
func skip(body io.Reader, offset int64) error {
	if s, ok := body.(io.Seeker); ok {
		_, err := s.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, body, offset)
	return err
}

func (b *resumingReader) Read(p []byte) (int, error) {
	if b.offset >= b.d.Size {
		return 0, io.EOF
	}
	for {
		if b.body == nil {
			if err := b.open(); err != nil {
				if !b.waitForRetry(err) {
					return 0, err
				}
				continue
			}
		}
		n, err := b.body.Read(p)
		b.watchdog.Reset(b.stallTimeout)
		if n > 0 {
			b.offset += int64(n)
			if b.offset > b.d.Size {
				return 0, b.wrapError(ErrCorrupt)
			}
			b.failures = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the descriptor has a larger size
		}
		b.close()
		if !b.waitForRetry(err) {
			return 0, b.wrapError(err)
		}
	}
}

// waitForRetry waits until the next attempt is due. It returns false if there is
// to be none.
func (b *resumingReader) waitForRetry(err error) bool {
	b.failures++
	if b.failures >= maxAttempts || errors.Is(err, ErrNotFound) {
		return false
	}
	return Sleep(b.ctx, Backoff(b.failures)) == nil
}

func (b *resumingReader) wrapError(err error) error {
	return wrapError(err, "reading from", b.name, b.d.Digest.String())
}

func (b *resumingReader) close() {
	if b.body == nil {
		return
	}
	b.watchdog.Stop()
	_ = b.body.Close() // a failure to close cannot lose data
	b.cancel(nil)
	b.body = nil
}

// Close ends the transfer.
func (b *resumingReader) Close() error {
	b.close()
	return nil
}

// Verified returns a reader that verifies a blob while it is read: unless size and
// digest are those of the descriptor, the last read returns ErrCorrupt instead of
// io.EOF.
func Verified(r io.ReadCloser, d ocispec.Descriptor) io.ReadCloser {
	return &verifyingReader{ReadCloser: r, d: d, verifier: d.Digest.Verifier(), left: d.Size}
}

type verifyingReader struct {
	io.ReadCloser
	d        ocispec.Descriptor
	verifier digest.Verifier
	left     int64
}

func (v *verifyingReader) Read(p []byte) (int, error) {
	if v.left == 0 {
		if v.d.Size == 0 && !v.verifier.Verified() {
			return 0, fmt.Errorf("%s is not the digest of empty content: %w", v.d.Digest, ErrCorrupt)
		}
		return 0, io.EOF
	}
	n, err := v.ReadCloser.Read(p)
	v.left -= int64(n)
	_, _ = v.verifier.Write(p[:n]) // never fails
	switch {
	case v.left < 0:
		return 0, fmt.Errorf("%s is larger than %d bytes: %w", v.d.Digest, v.d.Size, ErrCorrupt)
	case v.left == 0 && !v.verifier.Verified():
		// The caller must not receive the last bytes, which would complete an upload.
		return 0, fmt.Errorf("%s: %w", v.d.Digest, ErrCorrupt)
	case errors.Is(err, io.EOF) && v.left > 0:
		return n, fmt.Errorf("%s ended %d bytes early: %w", v.d.Digest, v.left, io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		err = nil // the next read returns io.EOF
	}
	return n, err
}

// readerOnly hides the concrete type of a reader, from which net/http would derive
// a content length.
type readerOnly struct{ io.Reader }
