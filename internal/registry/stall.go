// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"sync/atomic"
	"time"
)

// stallTransport bounds the time that the body of a response takes. That of a blob
// may take any time: resumingReader notices when it receives no data.
type stallTransport struct {
	base    http.RoundTripper
	timeout time.Duration
}

// RoundTrip implements http.RoundTripper.
func (t *stallTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil && !(resp.StatusCode < http.StatusMultipleChoices && isBlobRequest(req)) {
		resp.Body = boundBody(resp.Body, t.timeout)
	}
	return resp, err
}

// isBlobRequest reports whether a request is for the content of a blob, or follows a
// redirect of such a request.
func isBlobRequest(req *http.Request) bool {
	for req.Response != nil {
		req = req.Response.Request
	}
	return req.Method == http.MethodGet && path.Base(path.Dir(req.URL.Path)) == "blobs"
}

// boundedBody is a body that is closed after a timeout.
type boundedBody struct {
	io.ReadCloser
	timer   *time.Timer
	stalled atomic.Bool
}

func boundBody(body io.ReadCloser, timeout time.Duration) *boundedBody {
	b := &boundedBody{ReadCloser: body}
	b.timer = time.AfterFunc(timeout, func() {
		b.stalled.Store(true)
		_ = body.Close() // ends a Read that waits for data
	})
	return b
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.stalled.Load() {
		err = errStalled
	}
	return n, err
}

func (b *boundedBody) Close() error {
	b.timer.Stop()
	return b.ReadCloser.Close()
}

// sentContent is the content of an upload. It ends the request if the registry does
// not take it. The time that the source takes does not count.
type sentContent struct {
	source   io.Reader
	watchdog *time.Timer
	// The registry may take this long for a part of the content, and for its response
	// after the last one.
	maxPause, maxResponse time.Duration
}

func newSentContent(source io.Reader, cancel context.CancelCauseFunc, o Options) *sentContent {
	w := time.AfterFunc(o.StallTimeout, func() { cancel(errStalled) })
	w.Stop() // until the first part is read: there may be no connection yet
	return &sentContent{source: source, watchdog: w, maxPause: o.StallTimeout, maxResponse: o.MaxWait}
}

func (s *sentContent) Read(p []byte) (int, error) {
	s.watchdog.Stop()
	n, err := s.source.Read(p)
	if err == nil {
		s.watchdog.Reset(s.maxPause)
	} else {
		s.watchdog.Reset(s.maxResponse)
	}
	return n, err
}
