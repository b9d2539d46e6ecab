// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Blob opens a blob for reading. Reads resume where a connection broke. Content is
// unverified until io.EOF: instead of it, Read returns ErrCorrupt if the content
// does not have the digest.
func (c *Client) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	r, err := c.blobRepository(repository, d)
	if err != nil {
		return nil, fmt.Errorf("reading %s@%s: %w", repository, d.Digest, err)
	}
	b := &resumingReader{ctx: ctx, client: c, repository: r, d: d}
	if err := b.open(); err != nil {
		return nil, b.wrapError(err)
	}
	return Verified(b, d), nil
}

// minProgress is what a connection has to deliver so that the next one is not counted
// as another attempt.
const minProgress = 64 << 10

// resumingReader reads a blob with as many requests as necessary.
type resumingReader struct {
	ctx        context.Context
	client     *Client
	repository *repository
	d          ocispec.Descriptor

	body          io.ReadCloser
	cancel        context.CancelCauseFunc
	watchdog      *time.Timer
	offset        int64
	lastFailure   int64 // offset of the last failure
	failures      int   // since minProgress bytes were received
	withoutRanges bool  // the registry answers a Range with other content
}

// open requests the rest of the blob.
func (b *resumingReader) open() error {
	ctx, cancel := context.WithCancelCause(b.ctx)
	resp, err := b.request(ctx)
	if err != nil {
		cancel(nil)
		return err
	}
	b.body, b.cancel = resp.Body, cancel
	b.watchdog = time.AfterFunc(b.client.opts.StallTimeout, func() { cancel(errStalled) })
	if err := b.skipTo(resp); err != nil {
		b.close()
		return err
	}
	return nil
}

func (b *resumingReader) request(ctx context.Context) (*http.Response, error) {
	header, expected := http.Header{}, []int{http.StatusOK, http.StatusPartialContent}
	if b.offset > 0 && !b.withoutRanges {
		header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
		expected = append(expected, http.StatusRequestedRangeNotSatisfiable)
	}
	resp, err := b.client.send(ctx, b.repository, http.MethodGet, b.repository.blobURL(b.d.Digest), header)
	if err != nil {
		return nil, err
	}
	return resp, expectStatus(resp, expected...)
}

// skipTo advances the body of a response to the offset. A server may answer a Range
// with the whole content: https://www.rfc-editor.org/rfc/rfc9110#section-14.2.
func (b *resumingReader) skipTo(resp *http.Response) error {
	var first int64
	if resp.StatusCode != http.StatusOK {
		var ok bool
		if first, ok = firstByte(resp.Header.Get("Content-Range"), b.d.Size); !ok || first > b.offset {
			b.withoutRanges = true
			return errWrongRange
		}
	}
	for skip := b.offset - first; skip > 0; {
		n, err := io.CopyN(io.Discard, b.body, min(skip, minProgress))
		b.watchdog.Reset(b.client.opts.StallTimeout)
		if skip -= n; err != nil {
			return b.readError(err)
		}
	}
	return nil
}

// firstByte parses a Content-Range of content of a known size. It returns false
// unless the range extends to the end.
// https://www.rfc-editor.org/rfc/rfc9110#section-14.4
func firstByte(contentRange string, size int64) (first int64, ok bool) {
	text, isBytes := strings.CutPrefix(contentRange, "bytes ")
	text, total, _ := strings.Cut(text, "/")
	from, to, isRange := strings.Cut(text, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	ok = isBytes && isRange && err1 == nil && err2 == nil && first >= 0 && last == size-1 && (total == "*" || total == strconv.FormatInt(size, 10))
	return first, ok
}

var errWrongRange = errors.New("the registry answered a range request with another range")

func (b *resumingReader) Read(p []byte) (int, error) {
	for b.offset < b.d.Size {
		n, err := b.readOnce(p)
		if n > 0 {
			b.offset += int64(n)
			return n, nil // the error occurs again, or the next request avoids it
		}
		if err != nil {
			b.close()
			if !b.waitForRetry(err) {
				return 0, b.wrapError(err)
			}
		}
	}
	return 0, io.EOF
}

// readOnce reads from the current connection, or opens one.
func (b *resumingReader) readOnce(p []byte) (int, error) {
	if b.body == nil {
		if err := b.open(); err != nil {
			return 0, err
		}
	}
	n, err := b.body.Read(p)
	b.watchdog.Reset(b.client.opts.StallTimeout)
	if err != nil {
		err = b.readError(err)
	}
	return n, err
}

// readError returns the cause of a failed read. The end of the body is one: the
// descriptor has a larger size.
func (b *resumingReader) readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case b.ctx.Err() == nil && errors.Is(err, context.Canceled):
		return errStalled
	}
	return err
}

// waitForRetry waits until the next attempt is due. It returns false if there is
// to be none.
func (b *resumingReader) waitForRetry(err error) bool {
	if b.offset-b.lastFailure >= minProgress {
		b.failures = 0
	}
	b.lastFailure = b.offset
	if b.failures++; b.failures >= maxAttempts || !isTransient(err) && !errors.Is(err, errWrongRange) && !Retryable(b.wrapError(err)) {
		return false
	}
	return Sleep(b.ctx, Backoff(b.failures)) == nil
}

func (b *resumingReader) wrapError(err error) error {
	return b.client.wrapError(err, "reading from", b.repository, b.d.Digest.String())
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
