// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestParsePlainHTTP(t *testing.T) {
	for text, want := range map[string]string{
		"r.example:5000": "r.example:5000", "http://r.example:5000/": "r.example:5000", "http://r.example": "r.example", "10.0.0.1": "10.0.0.1",
		"": "", "https://r.example": "", "r.example/path": "", "http://user:secret@r.example": "", "https://user:secret@r.example": "", "ftp://r.example": "", "user@r.example": "",
	} {
		got, err := ParsePlainHTTP(text)
		if got != want || (err == nil) != (want != "") || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// serve starts a registry that a function implements, and returns a repository in it.
func serve(t *testing.T, f http.HandlerFunc) (repository string) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/a"
}

// A limit on one image does not stop the others of the registry.
func TestLongWaitFailsAtOnce(t *testing.T) {
	s := fakeregistry.Start(t)
	for _, name := range []string{"a", "b"} {
		fakeregistry.Push(t, s.Host+"/"+name+":v1", fakeregistry.Image(t, "amd64"))
	}
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for _, value := range []string{"3600", "99999999999999999999999", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), fmt.Sprint(time.Now().Add(time.Hour).Unix())} {
			s.ResetLog()
			s.SetFault(fakeregistry.When(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v2/a/") }, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(status)
			}))
			c := New(Options{})
			for range 2 { // the second without a request
				_, err := c.Resolve(t.Context(), s.Host+"/a", "v1")
				if !errors.Is(err, ErrThrottled) || Retryable(err) || !strings.Contains(err.Error(), "asks to come back at 20") {
					t.Errorf("%d, %s: error %v", status, value, err)
				}
			}
			if n := s.Count("", "/v2/a/"); n != 1 {
				t.Errorf("%d, %s: %d requests", status, value, n)
			}
			if _, err := c.Resolve(t.Context(), s.Host+"/b", "v1"); err != nil {
				t.Errorf("%d, %s: the other image: %v", status, value, err)
			}
		}
	}
}

func TestWaitIsReported(t *testing.T) {
	for wait, want := range map[string]int{"30": 1, "5": 1, "4": 0} {
		synctest.Test(t, func(t *testing.T) {
			var messages []string
			var requests atomic.Int64
			var first sync.WaitGroup // two requests, which are told the same
			first.Add(2)
			c := New(Options{Warn: func(message string) { messages = append(messages, message) }, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
				resp := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody}
				if requests.Add(1) <= 2 {
					first.Done()
					first.Wait()
					resp.StatusCode = http.StatusTooManyRequests
					resp.Header.Set("Retry-After", wait)
				}
				return resp, nil
			})})
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if _, err := c.Manifest(t.Context(), "r.example.com/a", descriptorOf("x")); !errors.Is(err, ErrNotFound) {
						t.Error(err)
					}
				})
			}
			both.Wait()
			if len(messages) != want || want > 0 && !strings.Contains(messages[0], "asks to wait until 20") {
				t.Errorf("Retry-After %s: messages %q", wait, messages)
			}
		})
	}
}

func TestPullLimit(t *testing.T) {
	s := fakeregistry.Start(t)
	s.SetFault(fakeregistry.Respond(http.StatusTooManyRequests, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"}]}`))
	_, err := New(Options{}).Manifest(t.Context(), s.Host+"/a", descriptorOf("x"))
	if !errors.Is(err, ErrThrottled) || Retryable(err) || !strings.Contains(err.Error(), "docker login "+s.Host) || s.Count("", "") != 1 {
		t.Errorf("%d requests, error %v", s.Count("", ""), err)
	}
}

func TestExpectPulls(t *testing.T) {
	s := fakeregistry.Start(t)
	fakeregistry.Push(t, s.Host+"/a:v1", fakeregistry.Image(t, "amd64"))
	s.SetFault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("RateLimit-Remaining", "2;w=21600")
		next.ServeHTTP(w, r)
	})
	manifest := descriptorOf("")
	manifest.Digest = digest.Digest(fakeregistry.Digest(t, s.Host+"/a:v1"))
	for _, tc := range []struct{ count, read, want int }{{2, 0, 0}, {3, 0, 1}, {3, 1, 0}, {4, 1, 1}} {
		var messages []string
		c := New(Options{Warn: func(m string) { messages = append(messages, m) }})
		for range tc.count {
			c.ExpectPulls([]string{s.Host + "/a"})
		}
		for range tc.read {
			if _, err := c.Manifest(t.Context(), s.Host+"/a", manifest); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if _, err := c.Resolve(t.Context(), s.Host+"/a", "v1"); err != nil {
				t.Fatal(err)
			}
		}
		if text := fmt.Sprintf("allows 2 more pulls for now, and %d images are to be read: run `docker login", tc.count); len(messages) != tc.want || tc.want > 0 && !strings.Contains(messages[0], text) {
			t.Errorf("%d images, of which %d are read: %q", tc.count, tc.read, messages)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "1.5", "-1", "99999999999999999999", "1746136938", "Fri, 31 Dec 2100 23:59:59 GMT", "1e9", "NaN", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {value}}}, time.Now(), -1)
		if got < -1 || got > maxRetryAfter {
			t.Errorf("%q: %s", value, got)
		}
	})
}

// A request fails after as many attempts as one blob; what they repeat, nothing else repeats.
func TestManifestFailsAfterMaxAttempts(t *testing.T) {
	for name, answer := range map[string]func() (*http.Response, error){
		"no answer": func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"an answer that breaks off": func() (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := New(Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					requests++
					return answer()
				})})
				if _, err := c.Manifest(t.Context(), "r.example.com/a", descriptorOf("x")); !errors.Is(err, ErrTransient) || requests != maxAttempts {
					t.Errorf("%d requests, error %v", requests, err)
				}
			})
		})
	}
}

func TestTheLargestDocument(t *testing.T) {
	for name, announced := range map[string]bool{"with length": true, "without length": false} {
		for _, more := range []int{0, 1} {
			text := strings.Repeat("x", maxManifestSize+more)
			repository := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if announced {
					w.Header().Set("Content-Length", fmt.Sprint(len(text)))
				}
				_, _ = io.WriteString(w, text)
			})
			if _, err := New(Options{}).Manifest(t.Context(), repository, descriptorOf(text)); errors.Is(err, ErrTooLarge) != (more > 0) || more == 0 && err != nil {
				t.Errorf("%s, %d bytes: %v", name, len(text), err)
			}
		}
	}
}

func TestLargeDocuments(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		chunk := make([]byte, 1<<20)
		for range 2 * maxManifestSize >> 20 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	announced := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(1<<40))
		_, _ = io.WriteString(w, "{")
	}
	for name, handler := range map[string]http.HandlerFunc{"without length": endless, "with length": announced} {
		repository := serve(t, handler)
		c := New(Options{})
		_, manifest := c.Manifest(t.Context(), repository, descriptorOf("x"))
		_, referrers := c.Referrers(t.Context(), repository, descriptorOf("x"))
		for _, err := range []error{manifest, referrers} {
			if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "up to 8 MiB") {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
}

func TestSlowManifestIsRequestedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = `{"schemaVersion":2}`
		requests := 0
		c := New(Options{StallTimeout: 300 * time.Millisecond, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			body, registry := io.Pipe()
			requests++
			isSlow := requests == 1
			go func() {
				if isSlow {
					_, _ = io.WriteString(registry, text[:3])
					return // and nothing more
				}
				_, _ = io.WriteString(registry, text)
				_ = registry.Close()
			}()
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body, ContentLength: -1}, nil
		})})
		got, err := c.Manifest(t.Context(), "r.example.com/a", descriptorOf(text))
		if err != nil || string(got) != text || requests != 2 {
			t.Errorf("%q after %d requests, error %v", got, requests, err)
		}
	})
}

func TestCorruptManifest(t *testing.T) {
	repository := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
	if _, err := New(Options{}).Manifest(t.Context(), repository, descriptorOf("x")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}

func TestInvalidNames(t *testing.T) {
	c := New(Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("%s %s", r.Method, r.URL)
		return nil, errors.New("no request expected")
	})})
	for _, d := range []ocispec.Descriptor{{}, {Digest: "sha256:short"}, {Digest: "md5:00"}, {Digest: digest.FromString("x"), Size: -1}} {
		_, blobErr := c.Blob(t.Context(), "r.example/a", d)
		_, hasErr := c.HasBlob(t.Context(), "r.example/a", d)
		_, mountErr := c.Mount(t.Context(), "r.example/a", "r.example/b", d)
		uploadErr := c.Upload(t.Context(), "r.example/a", d, strings.NewReader(""))
		for _, err := range []error{blobErr, hasErr, mountErr, uploadErr} {
			if err == nil {
				t.Errorf("%v is accepted", d)
			}
		}
	}
	for _, name := range []string{"", "../b", "a/b", "sha256:short"} {
		if _, err := c.Resolve(t.Context(), "r.example/a", name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	for _, err := range []error{
		func() error { _, err := c.Manifest(t.Context(), "r.example/a", ocispec.Descriptor{}); return err }(),
		func() error { _, err := c.Referrers(t.Context(), "r.example/a", ocispec.Descriptor{}); return err }(),
		func() error { _, err := c.Resolve(t.Context(), "UPPER CASE", "v1"); return err }(),
		c.PutManifest(t.Context(), "UPPER CASE", ocispec.Descriptor{}, nil, ""),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A registry that is accessed with TLS must not direct credentials to an endpoint
// without.
func TestRealmWithoutTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://token.example/"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	base := server.Client().Transport
	c := New(Options{
		PlainHTTP: func(string) bool { return false },
		Credential: func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{Username: "u", Password: "secret"}, nil
		},
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" {
				t.Errorf("a request without TLS: %s", r.URL)
			}
			return base.RoundTrip(r)
		}),
	})
	_, err := c.Resolve(t.Context(), strings.TrimPrefix(server.URL, "https://")+"/a", "v1")
	if err == nil || !strings.Contains(err.Error(), "uses http but registry was contacted over https") {
		t.Errorf("error %v", err)
	}
}

// Credentials are sent only to the registry.
func TestCredentialsStayAtTheRegistry(t *testing.T) {
	var location atomic.Value
	var leaked atomic.Int64
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || !strings.Contains(r.URL.RawQuery, "state=a%2Fb&digest=sha256%3A") {
			leaked.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(storage.Close)
	repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Location", location.Load().(string))
		w.WriteHeader(http.StatusAccepted)
	})
	c := New(Options{
		Credential: func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{Username: "u", Password: "secret"}, nil
		},
		UserAgent: "privatelink/test",
	})
	upload := func() error {
		return c.Upload(t.Context(), repository, descriptorOf("content"), strings.NewReader("content"))
	}
	location.Store(strings.Replace(storage.URL, "127.0.0.1", "localhost", 1) + "/upload?state=a%2Fb")
	if err := upload(); err != nil || leaked.Load() > 0 {
		t.Errorf("error %v, %d requests with credentials or without the query", err, leaked.Load())
	}
	location.Store("http://storage.example/upload")
	if err := upload(); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("error %v", err)
	}
	for _, invalid := range []string{"", "http://[::1/"} {
		location.Store(invalid)
		if err := upload(); err == nil || !strings.Contains(err.Error(), "without a valid Location") {
			t.Errorf("Location %q: error %v", invalid, err)
		}
	}
}

// The upload that a registry offers instead of a mount is used once.
func TestOfferedUpload(t *testing.T) {
	s := fakeregistry.Start(t)
	s.DisableMounts()
	c := New(Options{})
	d := descriptorOf("content")
	upload := func() error {
		return c.Upload(t.Context(), s.Host+"/b", d, strings.NewReader("content"))
	}
	for _, want := range []int{0, 1} { // further requests to open an upload
		if want == 0 {
			if mounted, err := c.Mount(t.Context(), s.Host+"/b", s.Host+"/a", d); mounted || err != nil {
				t.Fatalf("Mount() = %t, %v", mounted, err)
			}
		}
		s.ResetLog()
		if err := upload(); err != nil || s.Count(http.MethodPost, "") != want {
			t.Errorf("error %v, requests %v", err, s.Log())
		}
	}

	if _, err := c.Mount(t.Context(), s.Host+"/b", s.Host+"/a", d); err != nil {
		t.Fatal(err)
	}
	s.SetFault(fakeregistry.When(fakeregistry.HasMethod(http.MethodPut), fakeregistry.Respond(http.StatusNotFound, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`)))
	if err := upload(); !errors.Is(err, ErrTransient) || !Retryable(err) {
		t.Errorf("the offered upload has expired: %v", err)
	}
	s.SetFault(fakeregistry.When(fakeregistry.HasMethod(http.MethodPost), fakeregistry.Respond(http.StatusOK, "")))
	if mounted, err := c.Mount(t.Context(), s.Host+"/b", s.Host+"/a", descriptorOf("nothing")); mounted || !errors.Is(err, ErrNotFound) {
		t.Errorf("a mount with status 200 without the blob: %t, %v", mounted, err)
	}
}

func TestAcceptedButNotStored(t *testing.T) {
	t.Parallel()
	repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", "/v2/a/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			w.WriteHeader(http.StatusAccepted)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	c := New(Options{})
	var writes sync.WaitGroup
	for _, write := range []func() error{
		func() error {
			return c.PutManifest(t.Context(), repository, descriptorOf("content"), []byte("content"), "v1")
		},
		func() error {
			return c.Upload(t.Context(), repository, descriptorOf("content"), strings.NewReader("content"))
		},
	} {
		writes.Go(func() {
			if err := write(); !errors.Is(err, errNotStored) || Retryable(err) {
				t.Errorf("error %v", err)
			}
		})
	}
	writes.Wait()
}

func TestReferrerPages(t *testing.T) {
	page := func(names ...string) string {
		var all []string
		for _, n := range names {
			all = append(all, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1}`, ocispec.MediaTypeImageManifest, digest.FromString(n)))
		}
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, strings.Join(all, ","))
	}
	subject := descriptorOf("x")
	fallback := "sha256-" + subject.Digest.Encoded()
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    []string
		err     error // a class
		isError bool
	}{
		"pages": {handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex+"; charset=utf-8")
			switch r.URL.Query().Get("last") {
			case "":
				w.Header().Set("Link", `</v2/>; rel="self", <http://wrong.example/v2/a/referrers/`+subject.Digest.String()+`?last=a,b>; rel="next"`)
				_, _ = io.WriteString(w, page("1", "2"))
			case "a,b":
				_, _ = io.WriteString(w, page("3"))
			}
		}, want: []string{"1", "2", "3"}},
		"endless pages": {handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			w.Header().Set("Link", "<?x>; rel=next")
			_, _ = io.WriteString(w, page("1"))
		}, err: ErrTooLarge, isError: true},
		"a page fails, and the tag has more": {handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			switch {
			case strings.HasSuffix(r.URL.Path, fallback):
				_, _ = io.WriteString(w, page("1", "2"))
			case r.URL.RawQuery == "":
				w.Header().Set("Link", "<?x>; rel=next")
				_, _ = io.WriteString(w, page("1"))
			default:
				w.WriteHeader(http.StatusForbidden)
			}
		}, want: []string{"1", "2"}, err: ErrDenied, isError: true},
		"no API, but a tag": {handler: func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, fallback) {
				_, _ = io.WriteString(w, page("1"))
				return
			}
			http.NotFound(w, r)
		}, want: []string{"1"}},
		"a page for all paths": {handler: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html>") }},
		"no repository": {handler: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"errors":[{"code":"NAME_UNKNOWN"}]}`)
		}, err: ErrNotFound, isError: true},
		"no API, and the tag is refused": {handler: func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, fallback) {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			http.NotFound(w, r)
		}, err: ErrDenied, isError: true},
		"an unknown status": {handler: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotAcceptable) }, isError: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := New(Options{}).Referrers(t.Context(), serve(t, tc.handler), subject)
			if (err != nil) != tc.isError || tc.err != nil && !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if tc.err == ErrTooLarge {
				return
			}
			var want []digest.Digest
			for _, n := range tc.want {
				want = append(want, digest.FromString(n))
			}
			var digests []digest.Digest
			for _, d := range got {
				digests = append(digests, d.Digest)
			}
			if diff := cmp.Diff(want, digests); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFirstByte(t *testing.T) {
	for text, want := range map[string]int64{"bytes 3-9/10": 3, "bytes 0-9/*": 0, "bytes 3-8/10": -1, "bytes 3-9/11": -1, "3-9/10": -1, "bytes */10": -1, "": -1, "bytes -1-9/10": -1} {
		if got, ok := firstByte(text, 10); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %t", text, got, ok)
		}
	}
}

func TestMediaTypeOf(t *testing.T) {
	const docker = "application/vnd.docker.distribution.manifest.v2+json"
	for _, tc := range [][3]string{
		{ocispec.MediaTypeImageIndex + "; charset=utf-8", `{}`, ocispec.MediaTypeImageIndex},
		{ocispec.MediaTypeImageIndex, `{"mediaType":"` + docker + `"}`, docker},
		{docker, `{"manifests":[]}`, docker},
		{"application/json", `{"manifests":[],"mediaType":1}`, "application/json"},
		{"application/json", `{"manifests":[]}`, ocispec.MediaTypeImageIndex},
		{"", `{"layers":[]}`, ocispec.MediaTypeImageManifest},
		{"application/json", `{}`, "application/json"},
		{"text/html", `<html>`, "text/html"},
	} {
		if got := mediaTypeOf(tc[0], []byte(tc[1])); got != tc[2] {
			t.Errorf("%q %s: %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}

// For a client that logged in to push, a refusal to read may conceal that something
// is missing; a rejected password does not.
func TestForPush(t *testing.T) {
	for name, tc := range map[string]struct {
		challenge string
		status    int
		want      error
	}{
		"a token without permission":  {`Bearer realm="/token"`, http.StatusUnauthorized, ErrNotFound},
		"a token that is refused":     {`Bearer realm="/token"`, http.StatusForbidden, ErrNotFound},
		"a password that is refused":  {"Basic", http.StatusForbidden, ErrNotFound},
		"a password that is rejected": {"Basic", http.StatusUnauthorized, ErrAuth},
	} {
		repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				if !strings.Contains(r.URL.RawQuery, "pull%2Cpush") {
					t.Errorf("%s: the token is for %s", name, r.URL.RawQuery)
				}
				_, _ = io.WriteString(w, `{"token":"t"}`)
			case r.Header.Get("Authorization") == "":
				w.Header().Set("WWW-Authenticate", tc.challenge)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.WriteHeader(tc.status)
			}
		})
		c := New(Options{Credential: func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{Username: "u", Password: "secret"}, nil
		}}).ForPush()
		if _, err := c.Resolve(t.Context(), repository, "v1"); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		found, err := c.HasBlob(t.Context(), repository, descriptorOf("x"))
		if found || tc.want == ErrNotFound && err != nil || tc.want == ErrAuth && !errors.Is(err, ErrAuth) {
			t.Errorf("%s: HasBlob() = %t, %v", name, found, err)
		}
	}
}

// HEAD takes the place of GET where it tells all. A registry without HEAD answers it with 404.
func TestRequestsOfResolve(t *testing.T) {
	const manifest = `{"schemaVersion":2}`
	d := digest.FromString(manifest)
	for name, tc := range map[string]struct {
		name      string // tag or digest
		head, get int    // status
		digest    digest.Digest
		size      string
		want      string // requests of two calls
	}{
		"a tag":                           {"v1", 200, 200, d, "19", "HEAD HEAD"},
		"a digest":                        {d.String(), 200, 200, d, "19", "HEAD HEAD"},
		"a digest that the header denies": {d.String(), 200, 200, digest.FromString("other"), "19", "HEAD GET HEAD GET"},
		"no size":                         {"v1", 200, 200, d, "0", "HEAD GET HEAD GET"},
		"no digest":                       {"v1", 200, 200, "", "19", "HEAD GET HEAD GET"},
		"no HEAD":                         {"v1", 404, 200, "", "", "HEAD GET HEAD GET"},
		"nothing":                         {"v1", 404, 404, "", "", "HEAD GET HEAD"}, // GET confirmed the first
		"nothing that may be read":        {"v1", 404, 403, "", "", "HEAD GET HEAD GET"},
	} {
		t.Run(name, func(t *testing.T) {
			var log []string
			repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
				log = append(log, r.Method)
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				if r.Method == http.MethodHead {
					w.Header().Set("Docker-Content-Digest", tc.digest.String())
					if tc.size != "" {
						w.Header().Set("Content-Length", tc.size)
					}
					w.WriteHeader(tc.head)
					return
				}
				w.WriteHeader(tc.get)
				_, _ = io.WriteString(w, manifest)
			})
			c := New(Options{})
			for range 2 {
				if got, err := c.Resolve(t.Context(), repository, tc.name); (err == nil) != (tc.get == 200) || err == nil && got.Digest != d {
					t.Errorf("%s, %v", got.Digest, err)
				}
			}
			if got := strings.Join(log, " "); got != tc.want {
				t.Errorf("requests %s, want %s", got, tc.want)
			}
		})
	}
}

// A manifest is accepted under the type that its descriptor has.
func TestAcceptedTypes(t *testing.T) {
	const text, known, custom = `{"schemaVersion":2}`, ocispec.MediaTypeImageManifest, "application/vnd.example+json"
	var accept string
	repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
		accept = r.Header.Get("Accept")
		_, _ = io.WriteString(w, text)
	})
	for mediaType, want := range map[string]string{"": strings.Join(manifestTypes, ", "), known: strings.Join(manifestTypes, ", "), custom: custom + ", " + strings.Join(manifestTypes, ", ")} {
		d := descriptorOf(text)
		d.MediaType = mediaType
		if _, err := New(Options{}).Manifest(t.Context(), repository, d); err != nil || accept != want {
			t.Errorf("%q: accepts %s, want %s (%v)", mediaType, accept, want, err)
		}
	}
}

// Only a refusal to read may conceal that something is missing, and only of a client that logged
// in.
func TestConcealedRefusals(t *testing.T) {
	for _, tc := range []struct {
		method, scheme string
		status         int
		want           bool
	}{
		{"GET", "Bearer", 401, true}, {"HEAD", "Bearer", 403, true}, {"GET", "Basic", 403, true},
		{"GET", "Basic", 401, false}, {"PUT", "Bearer", 403, false}, {"GET", "", 403, false}, {"GET", "Bearer", 500, false},
	} {
		err := fmt.Errorf("reading: %w", &ResponseError{Method: tc.method, StatusCode: tc.status, authScheme: tc.scheme})
		if got := isConcealed(err); got != tc.want {
			t.Errorf("%+v: %t", tc, got)
		}
	}
	if isConcealed(io.EOF) {
		t.Error("a connection that broke was taken for a refusal")
	}
	denied := &ResponseError{Method: "GET", StatusCode: 403, authScheme: "Bearer"}
	for _, tc := range []struct {
		client     *Client
		repository string
		want       error
	}{
		{New(Options{}).ForPush(), "r.example.com/a", ErrNotFound},
		{New(Options{}), "r.example.com/a", ErrDenied},
		{New(Options{}).ForPush(), "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a", ErrDenied}, // it tells what is missing
	} {
		r, err := tc.client.repository(tc.repository)
		if err != nil {
			t.Fatal(err)
		}
		if err := tc.client.wrapError(denied, "reading", r, "v1"); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.repository, err, tc.want)
		}
	}
}

func TestUserAgent(t *testing.T) {
	const agent = "product/1"
	var got []string
	repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.UserAgent())
		w.WriteHeader(http.StatusNotFound)
	})
	if _, err := New(Options{UserAgent: agent}).Resolve(t.Context(), repository, "v1"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if len(got) == 0 || slices.ContainsFunc(got, func(s string) bool { return s != agent }) {
		t.Errorf("%q, want %q", got, agent)
	}
}

// A source may refuse HEAD, which clients that use only GET do not notice. A target
// that refuses it refuses the image.
func TestHeadForbidden(t *testing.T) {
	repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		_, _ = io.WriteString(w, `{"schemaVersion":2}`)
	})
	c := New(Options{})
	if _, err := c.Resolve(t.Context(), repository, "v1"); err != nil {
		t.Errorf("source: %v", err)
	}
	if _, err := c.ForPush().Resolve(t.Context(), repository, "v1"); !errors.Is(err, ErrDenied) {
		t.Errorf("target: %v, want %v", err, ErrDenied)
	}
}

// Without the referrers API, a tag has the index of them. Some registries take it for the digest
// of the image.
func TestReferrersByTag(t *testing.T) {
	subject := descriptorOf("image")
	index := func(n int) string {
		i := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
		for n := range n {
			i.Manifests = append(i.Manifests, descriptorOf(fmt.Sprint(n)))
		}
		text, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, tc := range map[string]struct {
		subject   ocispec.Descriptor
		mediaType string
		text      string
		want      int
		wantErr   error
	}{
		"an index":                     {subject, ocispec.MediaTypeImageIndex, index(2), 2, nil},
		"the image, which is an index": {descriptorOf(index(2)), ocispec.MediaTypeImageIndex, index(2), 0, nil},
		"a list that is no OCI index":  {subject, "application/vnd.docker.distribution.manifest.list.v2+json", `{"manifests":[{},{}]}`, 0, nil},
		"no JSON":                      {subject, ocispec.MediaTypeImageIndex, "<html>", 0, nil},
		"as many as are read":          {subject, ocispec.MediaTypeImageIndex, index(maxReferrers), maxReferrers, nil},
		"more":                         {subject, ocispec.MediaTypeImageIndex, index(maxReferrers + 1), maxReferrers, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/referrers/") {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				w.Header().Set("Content-Type", tc.mediaType)
				_, _ = io.WriteString(w, tc.text)
			})
			if got, err := New(Options{}).Referrers(t.Context(), repository, tc.subject); len(got) != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("%d referrers, %v; want %d, %v", len(got), err, tc.want, tc.wantErr)
			}
		})
	}
}

// Without the referrers API, the index of referrers is read, extended and written,
// even if the registry sends it without its length.
func TestReferrersIndex(t *testing.T) {
	handler := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/") {
			handler.ServeHTTP(w, r)
			return
		}
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, r)
		response.Header().Del("Content-Length")
		maps.Copy(w.Header(), response.Header())
		w.WriteHeader(response.Code)
		_ = http.NewResponseController(w).Flush() // before the length is known
		_, _ = w.Write(response.Body.Bytes())
	})
	c := New(Options{})
	empty := descriptorOf("{}")
	if err := c.Upload(t.Context(), repository, empty, strings.NewReader("{}")); err != nil {
		t.Fatal(err)
	}
	push := func(annotation string, subject *ocispec.Descriptor) ocispec.Descriptor {
		t.Helper()
		empty.MediaType = ocispec.MediaTypeEmptyJSON
		manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: empty, Layers: []ocispec.Descriptor{empty}, Subject: subject, Annotations: map[string]string{"a": annotation}}
		manifest.SchemaVersion = 2
		text, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		d := descriptorOf(string(text))
		d.MediaType = ocispec.MediaTypeImageManifest
		if err := c.PutManifest(t.Context(), repository, d, text, ""); err != nil {
			t.Fatal(err)
		}
		return d
	}
	subject := push("image", nil)
	first, second := push("first", &subject), push("second", &subject)
	got, err := c.Referrers(t.Context(), repository, subject)
	if err != nil || len(got) != 2 || got[0].Digest != first.Digest || got[1].Digest != second.Digest {
		t.Errorf("Referrers() = %v, %v", got, err)
	}
}
