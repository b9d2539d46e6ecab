// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
)

// protocolTransport translates responses that differ from the distribution
// specification into the form that oras-go expects.
type protocolTransport struct {
	base    http.RoundTripper
	secrets *secrets
}

// forORAS is the key of a context for requests that oras-go sends.
type forORAS struct{}

// RoundTrip implements http.RoundTripper.
func (t *protocolTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Request = req // as net/http does; a retry sent a copy
	decompress(resp)
	switch isManifest := strings.Contains(req.URL.Path, "/manifests/"); {
	case resp.StatusCode >= http.StatusBadRequest:
		if resp.StatusCode == http.StatusUnauthorized {
			selectChallenge(resp)
		}
		if req.Method != http.MethodHead {
			t.redact(resp)
		}
	case isManifest && req.Method == http.MethodPut && resp.StatusCode < 300:
		return t.verifyWrite(resp)
	case isManifest && req.Method == http.MethodGet && resp.ContentLength < 0 && req.Context().Value(forORAS{}) != nil:
		return withLength(resp)
	}
	return resp, nil
}

// redact removes secrets from an error response.
func (t *protocolTransport) redact(resp *http.Response) {
	details := errorDetails(resp)
	for i, d := range details {
		details[i] = ErrorDetail{t.secrets.redact(d.Code, resp.Request), t.secrets.redact(d.Message, resp.Request)}
	}
	setErrorDetails(resp, details)
}

// verifyWrite returns a response of 201 if a manifest was written. A registry
// proves that by status 201 without another digest; otherwise the manifest is read
// again. Status 202 may come before the manifest is there.
func (t *protocolTransport) verifyWrite(resp *http.Response) (*http.Response, error) {
	req := resp.Request
	if req.GetBody == nil {
		return resp, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	want := digest.FromBytes(text)
	reportedDigest := resp.Header.Get("Docker-Content-Digest")
	if resp.StatusCode == http.StatusCreated && (reportedDigest == "" || reportedDigest == want.String()) {
		return resp, nil
	}
	for attempt := 1; ; attempt++ {
		if t.hasManifest(req, want) {
			resp.StatusCode, resp.Status = http.StatusCreated, "201 Created"
			resp.Header.Del("Docker-Content-Digest")
			return resp, nil
		}
		if attempt == maxAttempts {
			_ = resp.Body.Close() // it has nothing to add
			return nil, fmt.Errorf("%w: it answered status %d", errNotStored, resp.StatusCode)
		}
		if err := Sleep(req.Context(), Backoff(attempt)); err != nil {
			return nil, err
		}
	}
}

// hasManifest reports whether a manifest can be read under the name to which it was
// written.
func (t *protocolTransport) hasManifest(write *http.Request, want digest.Digest) bool {
	read, err := http.NewRequestWithContext(write.Context(), http.MethodGet, write.URL.String(), nil)
	if err != nil {
		return false
	}
	read.Header = write.Header.Clone()
	read.Header.Set("Accept", write.Header.Get("Content-Type"))
	read.Header.Del("Content-Type")
	resp, err := t.base.RoundTrip(read)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := readAtMost(resp.Body, maxManifestSize)
	return err == nil && resp.StatusCode == http.StatusOK && digest.FromBytes(text) == want
}

// withLength reads the body of a response, so that its length is known.
func withLength(resp *http.Response) (*http.Response, error) {
	defer resp.Body.Close()
	text, err := readAtMost(resp.Body, maxManifestSize)
	if err != nil {
		return nil, err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return resp, nil
}

// decompress undoes a compression in transit, which the client does not ask for, but
// some registries and proxies apply: https://github.com/oras-project/oras-go/issues/1176.
// A digest is that of the stored content.
func decompress(resp *http.Response) {
	if !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") || resp.StatusCode == http.StatusPartialContent || resp.Request.Method == http.MethodHead {
		return
	}
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
	resp.ContentLength = -1
	resp.Body = &gzipBody{compressed: resp.Body}
}

// gzipBody decompresses a body from its first read on.
type gzipBody struct {
	compressed io.ReadCloser
	reader     *gzip.Reader
}

func (b *gzipBody) Read(p []byte) (n int, err error) {
	if b.reader == nil {
		if b.reader, err = gzip.NewReader(b.compressed); err != nil {
			return 0, err
		}
	}
	return b.reader.Read(p)
}

func (b *gzipBody) Close() error { return b.compressed.Close() }
