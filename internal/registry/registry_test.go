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
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "localhost:5000": true, "127.0.0.1:1": true, "[::1]:5000": true, "10.0.0.1:5000": false, "quay.io": false, "localhost.example.com": false,
		"127.0.0.1": true, "::1": true, "ghcr.io": false, "10.0.0.1": false, "localhost.example": false} {
		if got := IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q) = %t", host, got)
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
		if got := actionOf(httptest.NewRequest(method, path, nil)); got != want {
			t.Errorf("%s: %q, want %q", request, got, want)
		}
	}
}

// A response of 429 delays all requests of the same action.
func TestRetryAfterIsRespected(t *testing.T) {
	t.Parallel()
	s := fakeregistry.Start(t)
	pushed := fakeregistry.Push(t, s.Host+"/a:v1", fakeregistry.Image(t, "amd64"))
	s.ResetLog()
	var requests, early atomic.Int64
	var until atomic.Pointer[time.Time]
	s.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if u := until.Load(); u != nil && time.Now().Before(*u) {
			early.Add(1)
		}
		if requests.Add(1) > 1 {
			next.ServeHTTP(w, r)
			return
		}
		end := time.Now().Add(900 * time.Millisecond) // a little less than the header
		until.Store(&end)
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	d, err := New(Options{}).Resolve(t.Context(), s.Host+"/a", "v1")
	if err != nil || d.Digest.String() != pushed {
		t.Fatalf("%s, error %v", d.Digest, err)
	}
	if early.Load() > 0 || s.Count("", "") != 2 {
		t.Errorf("%d requests, %d of them too early", s.Count("", ""), early.Load())
	}
}

func TestMaxWait(t *testing.T) {
	s := fakeregistry.Start(t)
	s.SetFault(fakeregistry.Respond(http.StatusTooManyRequests, ""))
	_, err := New(Options{MaxWait: 300 * time.Millisecond}).Resolve(t.Context(), s.Host+"/a", "v1")
	if !errors.Is(err, ErrThrottled) || !strings.Contains(err.Error(), "higher quota") {
		t.Errorf("error %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := fakeregistry.Start(t)
	c := New(Options{Limits: func(string) Limits { return Limits{BatchCheckLayerAvailability: 20} }})
	start := time.Now()
	for i := range 30 { // 20 in a burst, ten more in half a second
		if found, err := c.HasBlob(t.Context(), s.Host+"/a", descriptorOf(fmt.Sprint(i))); found || err != nil {
			t.Fatal(found, err)
		}
	}
	if elapsed := time.Since(start); elapsed < 400*time.Millisecond {
		t.Errorf("30 requests with a limit of 20 per second in %s", elapsed)
	}
}

func descriptorOf(content string) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 7 * time.Second, "2": 2 * time.Second, "0": 0, "-1": 7 * time.Second, "x": 7 * time.Second, "1.x": 7 * time.Second, "1e3": 7 * time.Second,
		" 3 ": 3 * time.Second, "1.5": 2 * time.Second,
		"Sat, 28 Nov 2026 12:01:00 GMT": time.Minute, "Mon, 02 Jan 2006 15:04:05 GMT": 0, "Fri, 31 Dec 2100 23:59:59 GMT": maxRetryAfter,
		fmt.Sprint(now.Unix() + 60): time.Minute, fmt.Sprint(now.Unix() - 60): 0, "999999999": maxRetryAfter,
		fmt.Sprint(minUnixTime): 0, "9223372036": maxRetryAfter, "9223372036854775807": maxRetryAfter, "99999999999999999999999": maxRetryAfter,
	} {
		if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {value}}}, now, 7*time.Second); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// serveBlob starts a registry with one blob.
func serveBlob(t *testing.T, size int) (s *fakeregistry.Server, content []byte) {
	t.Helper()
	s = fakeregistry.Start(t)
	layer := fakeregistry.Layer(1, size)
	fakeregistry.Push(t, s.Host+"/a:v1", fakeregistry.Image(t, "amd64", layer))
	s.ResetLog()
	reader, err := layer.Compressed()
	if err == nil {
		content, err = io.ReadAll(reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, content
}

func readBlob(t *testing.T, s *fakeregistry.Server, content []byte) ([]byte, error) {
	t.Helper()
	blob, err := New(Options{StallTimeout: 500 * time.Millisecond}).Blob(t.Context(), s.Host+"/a", descriptorOf(string(content)))
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(blob)
	return got, errors.Join(err, blob.Close())
}

func TestBlobResumes(t *testing.T) {
	t.Parallel()
	for _, ranges := range []bool{true, false} {
		s, content := serveBlob(t, 1_000_000)
		var requests atomic.Int64
		s.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if ranges {
				w.Header().Set("Accept-Ranges", "bytes")
			} else {
				r.Header.Del("Range")
			}
			if requests.Add(1) <= 3 {
				fakeregistry.CutAfter(300_000)(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
		got, err := readBlob(t, s, content)
		if err != nil || !bytes.Equal(got, content) || s.Count("", "") < 4 {
			t.Errorf("ranges %t: %d bytes, %d requests, error %v", ranges, len(got), s.Count("", ""), err)
		}
	}
}

func TestBlobFailsAfterMaxAttempts(t *testing.T) {
	t.Parallel()
	s, content := serveBlob(t, 1000)
	s.SetFault(fakeregistry.Abort)
	if _, err := readBlob(t, s, content); !errors.Is(err, ErrTransient) || s.Count("", "") != maxAttempts {
		t.Errorf("%d requests, error %v", s.Count("", ""), err)
	}
}

// A connection that delivers much before it breaks does not count as a failure: a large blob may
// need any number of them.
func TestDownloadsThatGoOnAreRetried(t *testing.T) {
	broken := io.ErrUnexpectedEOF
	for name, tc := range map[string]struct {
		err      error
		progress int64 // with each connection
		want     int   // connections
	}{
		"none delivers anything":         {broken, 0, maxAttempts},
		"each delivers too little":       {broken, minProgress - 1, maxAttempts},
		"each delivers enough":           {broken, minProgress, 100},
		"the range is not the requested": {errWrongRange, 0, maxAttempts},
		"the registry is overloaded":     {ErrTransient, 0, maxAttempts},
		"the registry denies it":         {ErrDenied, minProgress, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := New(Options{})
				r, err := c.blobRepository("registry.example.com/a", descriptorOf("x"))
				if err != nil {
					t.Fatal(err)
				}
				b := &resumingReader{ctx: t.Context(), client: c, repository: r, d: descriptorOf("x")}
				connections := 1
				for b.offset = tc.progress; connections < 100 && b.waitForRetry(tc.err); b.offset += tc.progress {
					connections++
				}
				if connections != tc.want {
					t.Errorf("%d connections, want %d", connections, tc.want)
				}
			})
		})
	}
}

func TestStalledDownloadIsRestarted(t *testing.T) {
	t.Parallel()
	s, content := serveBlob(t, 1000)
	var requests atomic.Int64
	done := make(chan struct{})
	s.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if requests.Add(1) > 1 {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:3])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	t.Cleanup(func() { close(done) })
	if got, err := readBlob(t, s, content); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
}

// A stream of HTTP/2 ends with another error than a connection.
func TestStalledStreamIsRestarted(t *testing.T) {
	t.Parallel()
	const content = "content"
	done := make(chan struct{})
	var requests atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) > 1 {
			_, _ = io.WriteString(w, content)
			return
		}
		_, _ = io.WriteString(w, content[:3])
		_ = http.NewResponseController(w).Flush()
		<-done
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(done) })
	c := New(Options{StallTimeout: 300 * time.Millisecond, Transport: server.Client().Transport, PlainHTTP: func(string) bool { return false }})
	blob, err := c.Blob(t.Context(), strings.TrimPrefix(server.URL, "https://")+"/a", descriptorOf(content))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(blob); err != nil || string(got) != content {
		t.Errorf("%q, error %v", got, err)
	}
	if err := blob.Close(); err != nil {
		t.Error(err)
	}
}

func TestWriteAndRead(t *testing.T) {
	s := fakeregistry.Start(t)
	c := New(Options{})
	a, b := s.Host+"/a", s.Host+"/b"
	config := descriptorOf("{}")
	config.MediaType = ocispec.MediaTypeImageConfig
	text := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[]}`, ocispec.MediaTypeImageManifest, config.MediaType, config.Digest)
	manifest := descriptorOf(string(text))
	manifest.MediaType = ocispec.MediaTypeImageManifest

	if err := c.Upload(t.Context(), a, config, strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"", "v1"} {
		if err := c.PutManifest(t.Context(), a, manifest, text, tag); err != nil {
			t.Fatal(err)
		}
	}
	if got := fakeregistry.Digest(t, a+":v1"); got != manifest.Digest.String() {
		t.Errorf("the tag has the digest %q, want %s", got, manifest.Digest)
	}
	if got, err := c.Manifest(t.Context(), a, manifest); err != nil || !bytes.Equal(got, text) {
		t.Errorf("Manifest() = %q, %v", got, err)
	}
	if d, got, err := c.Fetch(t.Context(), a, "v1"); err != nil || d.Digest != manifest.Digest || !bytes.Equal(got, text) {
		t.Errorf("Fetch() = %s, %q, %v", d.Digest, got, err)
	}
	for _, name := range []string{"v2", "not a tag"} {
		if _, _, err := c.Fetch(t.Context(), a, name); err == nil || (name == "v2") != errors.Is(err, ErrNotFound) {
			t.Errorf("Fetch(%q): error %v", name, err)
		}
	}
	referrer := fakeregistry.PushReferrer(t, a+":v1", fakeregistry.Image(t, "unknown"))
	if got, err := c.Referrers(t.Context(), a, manifest); err != nil || len(got) != 1 || got[0].Digest.String() != referrer {
		t.Errorf("Referrers() = %v, %v, want %s", got, err, referrer)
	}

	if mounted, err := c.Mount(t.Context(), b, a, config); err != nil || !mounted {
		t.Errorf("Mount() = %t, %v", mounted, err)
	}
	if found, err := c.HasBlob(t.Context(), b, config); err != nil || !found {
		t.Errorf("HasBlob() = %t, %v", found, err)
	}
	s.DisableMounts()
	if mounted, err := c.Mount(t.Context(), b, a, config); err != nil || mounted {
		t.Errorf("Mount() = %t, %v, although mounts are disabled", mounted, err)
	}
	s.SetFault(fakeregistry.Respond(http.StatusMethodNotAllowed, ""))
	if mounted, err := c.Mount(t.Context(), b, a, config); err != nil || mounted {
		t.Errorf("Mount() = %t, %v, although mounts are refused", mounted, err)
	}
	s.SetFault(fakeregistry.Respond(http.StatusForbidden, ""))
	if _, err := c.Mount(t.Context(), b, a, config); !errors.Is(err, ErrDenied) {
		t.Errorf("Mount() without permission: %v", err)
	}
}

func TestVerified(t *testing.T) {
	d := descriptorOf("content")
	for content, want := range map[string]error{"content": nil, "CONTENT": ErrCorrupt, "conten": io.ErrUnexpectedEOF, "content and more": ErrCorrupt, "": io.ErrUnexpectedEOF} {
		got, err := io.ReadAll(Verified(io.NopCloser(strings.NewReader(content)), d))
		if !errors.Is(err, want) || want == nil && string(got) != content {
			t.Errorf("%q: %q, error %v, want %v", content, got, err, want)
		}
		// A registry discards an upload that is incomplete.
		if want != nil && len(got) >= int(d.Size) {
			t.Errorf("%q: all %d bytes were returned", content, len(got))
		}
	}
	// A reader may tell the end together with the last bytes.
	if got, err := io.ReadAll(Verified(io.NopCloser(iotest.DataErrReader(strings.NewReader("content"))), d)); err != nil || string(got) != "content" {
		t.Errorf("%q, error %v", got, err)
	}
	empty := ocispec.Descriptor{Digest: digest.FromString("x")}
	if _, err := io.ReadAll(Verified(io.NopCloser(strings.NewReader("")), empty)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("empty content with another digest: %v", err)
	}
	if got, err := io.ReadAll(Verified(io.NopCloser(strings.NewReader("")), descriptorOf(""))); err != nil || len(got) > 0 {
		t.Errorf("empty content: %q, %v", got, err)
	}
}

func TestErrorClasses(t *testing.T) {
	s := fakeregistry.Start(t)
	c := New(Options{})
	for _, tc := range []struct {
		status int
		body   string
		want   error
		text   string
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
		s.SetFault(fakeregistry.Respond(tc.status, tc.body))
		manifest := []byte(`{"schemaVersion":2}`)
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
		err := c.PutManifest(t.Context(), s.Host+"/a", d, manifest, "v1")
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%d %s: %v, want %v", tc.status, tc.body, err, tc.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 200 * time.Millisecond, 2: 400 * time.Millisecond, 6: 6400 * time.Millisecond, 7: 10 * time.Second, 1000: 10 * time.Second} {
		for range 100 {
			if got := Backoff(failures); got < want/2 || got >= want/2+want {
				t.Errorf("after %d failures %s, want %s and up to half less or more", failures, got, want)
			}
		}
	}
}

func TestStatusClasses(t *testing.T) {
	for status, want := range map[int]error{
		401: ErrAuth, 403: ErrDenied, 404: ErrNotFound, 405: ErrUnsupported, 429: ErrThrottled, 408: ErrTransient, 416: ErrTransient, 500: ErrTransient, 503: ErrTransient,
		400: nil, 409: nil, 501: nil, 507: nil,
	} {
		if got := classify(&ResponseError{StatusCode: status}); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	const ecr, other = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a", "registry.example.com/a"
	for _, tc := range []struct {
		repository, name string
		class            error
		want             string
	}{
		{other, "", nil, "reading " + other + ": cause"},
		{other, "v1", nil, "reading " + other + ":v1: cause"},
		{other, "sha256:0", nil, "reading " + other + "@sha256:0: cause"},
		{ecr, "v1", ErrNotFound, "not found: cause"},
		{ecr, "v1", ErrAuth, "aws sts get-caller-identity"}, {other, "v1", ErrAuth, "log in with `docker login registry.example.com`"},
		{ecr, "v1", ErrDenied, "IAM action"}, {other, "v1", ErrDenied, "a private image requires `docker login registry.example.com`"},
		{ecr, "v1", ErrThrottled, "request a higher quota"}, {other, "v1", ErrThrottled, "run `docker login registry.example.com` for a higher quota"},
	} {
		err := &Error{Operation: "reading", Repository: tc.repository, Name: tc.name, Class: tc.class, Cause: errors.New("cause")}
		if got := err.Error(); !strings.Contains(got, tc.want) || tc.class == nil && got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

func TestIsTransient(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {context.DeadlineExceeded, false}, {io.ErrUnexpectedEOF, true}, {context.Canceled, false}, {errStalled, true}, {errors.New("x509: unknown authority"), false},
		{&net.DNSError{IsNotFound: true}, false}, {&net.DNSError{IsTemporary: true}, true}, {fmt.Errorf("x: %w", net.ErrClosed), false},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, true}, {os.NewSyscallError("open", syscall.ENOENT), false},
	} {
		if got := isTransient(tc.err); got != tc.want {
			t.Errorf("%v: %t", tc.err, got)
		}
	}
}

func TestIsConnectionError(t *testing.T) {
	for _, tc := range []struct {
		goos  string
		errno syscall.Errno
		want  bool
	}{
		{"linux", syscall.ECONNRESET, true}, {"linux", syscall.EPIPE, true}, {"linux", syscall.ECONNREFUSED, true}, {"linux", syscall.EACCES, false},
		{"windows", 10053, true}, {"windows", 10054, true}, {"windows", 10060, true}, {"windows", 10061, true},
		{"windows", 10013, false}, // WSAEACCES
		{"linux", 10054, false},
	} {
		if got := isConnectionError(tc.goos, tc.errno); got != tc.want {
			t.Errorf("%s, %d: %t", tc.goos, tc.errno, got)
		}
	}
}
