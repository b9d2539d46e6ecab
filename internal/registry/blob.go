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

// Blob opens a blob. Where the connection breaks, reading goes on at the byte
// where it broke. The last read fails with ErrCorrupt unless all that was read
// has the digest; until then nothing read is proven.
func (c *Client) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	b := &resuming{ctx: ctx, repository: r, name: repository, d: d, stalled: c.opts.Stalled}
	if err := b.open(); err != nil {
		return nil, err
	}
	return Verified(b, d), nil
}

// resuming reads a blob in as many requests as it takes.
type resuming struct {
	ctx        context.Context
	repository *remote.Repository
	name       string
	d          ocispec.Descriptor
	stalled    time.Duration

	body     io.ReadCloser
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
	offset   int64
	failures int
}

// open asks for the rest of the blob.
func (b *resuming) open() error {
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
		return explain(err, "reading from", b.name, b.d.Digest.String())
	}
	b.body, b.cancel = body, cancel
	b.watchdog = time.AfterFunc(b.stalled, func() { cancel(errStalled) })
	return nil
}

// skip goes to an offset, by a range request where the registry knows that.
func skip(body io.Reader, offset int64) error {
	if s, ok := body.(io.Seeker); ok {
		_, err := s.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, body, offset)
	return err
}

func (b *resuming) Read(p []byte) (int, error) {
	if b.offset >= b.d.Size {
		return 0, io.EOF
	}
	for {
		if b.body == nil {
			if err := b.open(); err != nil {
				if !b.again(err) {
					return 0, err
				}
				continue
			}
		}
		n, err := b.body.Read(p)
		b.watchdog.Reset(b.stalled)
		if n > 0 {
			b.offset += int64(n)
			if b.offset > b.d.Size {
				return 0, explain(ErrCorrupt, "reading from", b.name, b.d.Digest.String())
			}
			b.failures = 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the size says that there is more
		}
		b.close()
		if !b.again(err) {
			return 0, explain(err, "reading from", b.name, b.d.Digest.String())
		}
	}
}

// again tells whether to go on after an error, when it is time to.
func (b *resuming) again(err error) bool {
	b.failures++
	return b.ctx.Err() == nil && b.failures < tries && Sleep(b.ctx, Backoff(b.failures)) == nil && !errors.Is(err, ErrNotFound)
}

func (b *resuming) close() {
	if b.body == nil {
		return
	}
	b.watchdog.Stop()
	_ = b.body.Close() // reading: nothing is lost
	b.cancel(nil)
	b.body = nil
}

// Close ends the transfer.
func (b *resuming) Close() error {
	b.close()
	return nil
}

// Verified checks a blob while it is read: the last read returns ErrCorrupt
// unless size and digest are those of the descriptor.
func Verified(r io.ReadCloser, d ocispec.Descriptor) io.ReadCloser {
	return &verified{ReadCloser: r, d: d, verifier: d.Digest.Verifier(), left: d.Size}
}

type verified struct {
	io.ReadCloser
	d        ocispec.Descriptor
	verifier digest.Verifier
	left     int64
}

func (v *verified) Read(p []byte) (int, error) {
	if v.left == 0 {
		if v.d.Size == 0 && !v.verifier.Verified() {
			return 0, fmt.Errorf("%s is not the digest of nothing: %w", v.d.Digest, ErrCorrupt)
		}
		return 0, io.EOF
	}
	n, err := v.ReadCloser.Read(p)
	v.left -= int64(n)
	_, _ = v.verifier.Write(p[:n]) // a hash takes all
	switch {
	case v.left < 0:
		return 0, fmt.Errorf("%s is longer than the %d bytes it should have: %w", v.d.Digest, v.d.Size, ErrCorrupt)
	case v.left == 0 && !v.verifier.Verified():
		// The reader must not get the last bytes: with all of them an upload is complete.
		return 0, fmt.Errorf("%s: %w", v.d.Digest, ErrCorrupt)
	case errors.Is(err, io.EOF) && v.left > 0:
		return n, fmt.Errorf("%s ends %d bytes early: %w", v.d.Digest, v.left, io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		err = nil // io.EOF comes with the next read
	}
	return n, err
}

// opaque hides all but Read: net/http takes more than it needs from what it
// knows, and would guess at a length.
type opaque struct{ io.Reader }
