// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestHosts(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "localhost:5000": true, "127.0.0.1:1": true, "[::1]:5000": true, "10.0.0.1:5000": false, "quay.io": false, "localhost.example.com": false} {
		if got := Loopback(host); got != want {
			t.Errorf("Loopback(%q) = %t", host, got)
		}
	}
}

func TestActions(t *testing.T) {
	for request, want := range map[string]Action{
		"PUT /v2/a/manifests/v1":                  PutImage,
		"HEAD /v2/a/manifests/v1":                 BatchGetImage,
		"GET /v2/a/referrers/sha256:1":            BatchGetImage,
		"POST /v2/a/blobs/uploads/":               InitiateLayerUpload,
		"PATCH /v2/a/blobs/uploads/1":             UploadLayerPart,
		"PUT /v2/a/blobs/uploads/1?digest=sha256": CompleteLayerUpload,
		"HEAD /v2/a/blobs/sha256:1":               BatchCheckLayerAvailability,
		"GET /v2/a/blobs/sha256:1":                GetDownloadURLForLayer,
		"GET /v2/":                                "",
		"GET /token":                              "",
	} {
		method, path, _ := strings.Cut(request, " ")
		if got := action(httptest.NewRequest(method, path, nil)); got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}

// One 429 holds the others back that count as the same action.
func TestARegistryThatSaysWaitIsWaitedFor(t *testing.T) {
	var asked, early atomic.Int64
	var until atomic.Pointer[time.Time]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u := until.Load(); u != nil && time.Now().Before(*u) {
			early.Add(1)
		}
		if asked.Add(1) == 1 {
			end := time.Now().Add(900 * time.Millisecond) // of the second that it asks for
			until.Store(&end)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Docker-Content-Digest", digest.FromString("x").String())
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Content-Length", "1")
	}))
	defer server.Close()
	c := New(Options{})
	repository := strings.TrimPrefix(server.URL, "http://") + "/a"
	if _, err := c.Resolve(t.Context(), repository, "v1"); err != nil {
		t.Fatal(err)
	}
	if early.Load() > 0 || asked.Load() != 2 {
		t.Errorf("%d requests, %d of them too early", asked.Load(), early.Load())
	}
}

func TestPatienceEnds(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	defer server.Close()
	c := New(Options{Patience: 300 * time.Millisecond})
	_, err := c.Resolve(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/a", "v1")
	if !errors.Is(err, ErrThrottled) || !strings.Contains(err.Error(), "higher quota") {
		t.Errorf("error %v", err)
	}
}

func TestLimitsAreKept(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	defer server.Close()
	c := New(Options{Limits: func(string) Limits { return Limits{BatchCheckLayerAvailability: 20} }})
	repository := strings.TrimPrefix(server.URL, "http://") + "/a"
	begin := time.Now()
	for i := range 30 { // 20 at once, ten more in half a second
		if has, err := c.HasBlob(t.Context(), repository, of(fmt.Sprint(i))); has || err != nil {
			t.Fatal(has, err)
		}
	}
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("30 requests of 20 a second took %s", took)
	}
}

func of(content string) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 7 * time.Second, "2": 2 * time.Second, "0": 0, "-1": 7 * time.Second, "x": 7 * time.Second, "Mon, 02 Jan 2006 15:04:05 GMT": 0} {
		if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {value}}}, 7*time.Second); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// blobs serves one blob, with range requests or without, and breaks connections.
func blobs(t *testing.T, content []byte, ranges bool, breakAfter int, times int64) (*Client, string, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if n <= times {
			w = &breaking{ResponseWriter: w, left: breakAfter}
		}
		if !ranges {
			r.Header.Del("Range")
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(server.Close)
	return New(Options{Stalled: 500 * time.Millisecond}), strings.TrimPrefix(server.URL, "http://") + "/a", &requests
}

type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		_, _ = b.ResponseWriter.Write(p[:b.left])
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

func TestABlobIsTakenUpWhereItBroke(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, ranges := range []bool{true, false} {
		c, repository, requests := blobs(t, content, ranges, 300_000, 3)
		body, err := c.Blob(t.Context(), repository, of(string(content)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("ranges %t: %d bytes, %v", ranges, len(got), err)
		}
		if err := body.Close(); err != nil || requests.Load() < 4 {
			t.Errorf("%v, %d requests", err, requests.Load())
		}
	}
}

func TestABlobThatAlwaysBreaksIsGivenUp(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100)
	c, repository, requests := blobs(t, content, true, 0, 1000)
	if _, err := c.Blob(t.Context(), repository, of(string(content))); !errors.Is(err, ErrTransient) || requests.Load() != tries {
		t.Errorf("%d requests, error %v", requests.Load(), err)
	}
}

func TestWhatStandsStillIsBegunAgain(t *testing.T) {
	content := []byte("content")
	var requests atomic.Int64
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		if requests.Add(1) == 1 {
			_, _ = w.Write(content[:3])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-release:
			}
			return
		}
		_, _ = w.Write(content)
	}))
	defer server.Close()
	defer close(release)
	c := New(Options{Stalled: 200 * time.Millisecond})
	body, err := c.Blob(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/a", of(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(body); err != nil || string(got) != "content" {
		t.Errorf("%q %v", got, err)
	}
}

func TestVerified(t *testing.T) {
	d := of("content")
	for content, want := range map[string]error{"content": nil, "CONTENT": ErrCorrupt, "conten": io.ErrUnexpectedEOF, "content and more": ErrCorrupt, "": io.ErrUnexpectedEOF} {
		got, err := io.ReadAll(Verified(io.NopCloser(strings.NewReader(content)), d))
		if !errors.Is(err, want) || want == nil && string(got) != content {
			t.Errorf("%q: %q, error %v, want %v", content, got, err, want)
		}
		// Whoever writes what was read has less than all of it, and so nothing.
		if want != nil && len(got) >= int(d.Size) {
			t.Errorf("%q: all %d bytes were handed out", content, len(got))
		}
	}
	nothing := ocispec.Descriptor{Digest: digest.FromString("x")}
	if _, err := io.ReadAll(Verified(io.NopCloser(strings.NewReader("")), nothing)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("nothing with the digest of something: %v", err)
	}
}

func TestClasses(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		want   error
		says   string
	}{
		{404, ``, ErrNotFound, ""},
		{401, ``, ErrAuth, "docker login"},
		{403, `{"errors":[{"code":"DENIED"}]}`, ErrDenied, "private image"},
		{403, `{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}`, ErrAuth, ""},
		{405, `{"errors":[{"code":"UNSUPPORTED"}]}`, ErrUnsupported, ""},
		{400, `{"errors":[{"code":"TAG_INVALID","message":"The image tag 'v1' already exists in the 'a' repository and cannot be overwritten because the tag is immutable."}]}`, ErrImmutable, ""},
		{400, `{"errors":[{"code":"X","message":"ImageTagAlreadyExistsException: no"}]}`, ErrImmutable, ""},
		{400, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`, ErrIncomplete, ""},
		{400, `{"errors":[{"code":"X","message":"LayersNotFoundException: no"}]}`, ErrIncomplete, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		}))
		c := New(Options{})
		text := []byte(`{"schemaVersion":2}`)
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(text), Size: int64(len(text))}
		err := c.PutManifest(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/a", d, text, "v1")
		server.Close()
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%d %s: %v, want %v", tc.status, tc.body, err, tc.want)
		}
	}
}

func TestWhatPasses(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{io.ErrUnexpectedEOF, true}, {context.Canceled, false}, {errStalled, true}, {errors.New("x509: unknown authority"), false},
		{&net.DNSError{IsNotFound: true}, false}, {&net.DNSError{IsTemporary: true}, true}, {fmt.Errorf("x: %w", net.ErrClosed), false},
	} {
		if got := passing(tc.err); got != tc.want {
			t.Errorf("%v: %t", tc.err, got)
		}
	}
}
