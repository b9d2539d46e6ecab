// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A response whose body never arrives has the result of its status.
func TestStalledBodies(t *testing.T) {
	const text = `{"schemaVersion":2}`
	stall := func(w http.ResponseWriter, r *http.Request, status int) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(status)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"a refusal":          {func(w http.ResponseWriter, r *http.Request) { stall(w, r, http.StatusForbidden) }, ErrDenied},
		"a missing manifest": {func(w http.ResponseWriter, r *http.Request) { stall(w, r, http.StatusNotFound) }, ErrNotFound},
		"a long wait": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			stall(w, r, http.StatusTooManyRequests)
		}, ErrThrottled},
		"a challenge": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			stall(w, r, http.StatusUnauthorized)
		}, ErrAuth},
		"a token": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				stall(w, r, http.StatusOK)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, ErrTransient},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				_, _ = io.WriteString(w, text)
				return
			}
			w.Header().Set("Location", "/other")
			stall(w, r, http.StatusTemporaryRedirect)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c := New(Options{StallTimeout: 200 * time.Millisecond})
			if _, err := c.Manifest(ctx, serve(t, tc.handler), descriptorOf(text)); !errors.Is(err, tc.want) || ctx.Err() != nil {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// The total time of a download is not limited; only a pause ends it.
func TestSlowBlobIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := strings.Repeat("x", 10)
		requests := 0
		c := New(Options{StallTimeout: 2 * time.Second, Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if requests++; req.URL.Host == "r.example.com" {
				return &http.Response{StatusCode: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"https://storage.example.com/x"}}, Body: http.NoBody}, nil
			}
			body, storage := io.Pipe()
			go func() {
				for _, b := range []byte(content) {
					time.Sleep(time.Second)
					_, _ = storage.Write([]byte{b})
				}
				_ = storage.Close()
			}()
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body, ContentLength: int64(len(content))}, nil
		})})
		blob, err := c.Blob(t.Context(), "r.example.com/a", descriptorOf(content))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(blob); string(got) != content || err != nil || requests != 2 {
			t.Errorf("%q after %d requests, %v", got, requests, err)
		}
		if err := blob.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestIsBlobRequest(t *testing.T) {
	for request, want := range map[string]bool{
		"GET /v2/a/blobs/sha256:1": true, "HEAD /v2/a/blobs/sha256:1": false, "PUT /v2/a/blobs/uploads/1": false,
		"GET /v2/a/manifests/v1": false, "GET /v2/a/blobs/manifests/v1": false, "GET /token": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, "https://r.example.com"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := isBlobRequest(req); got != want {
			t.Errorf("%s: %t", request, got)
		}
	}
}

// A registry that stops reading an upload does not block it.
func TestStalledUpload(t *testing.T) {
	const size = 64 << 20 // more than the operating system buffers
	done := make(chan struct{})
	repository := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Location", "/v2/a/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
			return
		}
		<-done
	})
	t.Cleanup(func() { close(done) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := descriptorOf("x")
	d.Size = size
	err := New(Options{StallTimeout: 200 * time.Millisecond}).Upload(ctx, repository, d, strings.NewReader(strings.Repeat("x", size)))
	if !errors.Is(err, errStalled) || !errors.Is(err, ErrTransient) || ctx.Err() != nil {
		t.Errorf("error %v, want %v", err, errStalled)
	}
}

// Neither a slow source nor a registry that responds slowly at the end stalls an upload.
func TestSlowUploads(t *testing.T) {
	for name, tc := range map[string]struct {
		source, response time.Duration // how long they take
		want             error
	}{
		"a slow source":     {time.Hour, 0, nil},
		"a slow response":   {0, 9 * time.Second, nil},
		"no response":       {0, time.Hour, errStalled},
		"all of it is slow": {time.Hour, 9 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				content, source := io.Pipe()
				go func() {
					for range 2 {
						time.Sleep(tc.source)
						_, _ = io.WriteString(source, "x")
					}
					_ = source.Close()
				}()
				var log []string
				options := answers(&log, map[string]int{http.MethodPut: http.StatusCreated})
				base := options.Transport
				options.StallTimeout, options.MaxWait = time.Second, 10*time.Second
				options.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
					resp, err := base.RoundTrip(req) // reads the content
					if req.Method == http.MethodPut {
						err = Sleep(req.Context(), tc.response)
					}
					return resp, err
				})
				err := New(options).Upload(t.Context(), "r.example.com/a", descriptorOf("xx"), content)
				if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
					t.Errorf("error %v, want %v", err, tc.want)
				}
			})
		})
	}
}
