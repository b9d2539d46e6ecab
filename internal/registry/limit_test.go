// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"
)

// What requests wait for is known while they wait, and no longer.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const host = "r.example.com"
		throttled := false
		r := &retryTransport{maxWait: time.Hour, warn: func(string) {}, buckets: buckets{limits: func(string) Limits { return Limits{BatchGetImage: 2} }}}
		r.base = roundTripper(func(req *http.Request) (*http.Response, error) {
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
			if strings.Contains(req.URL.Path, "/blobs/") && !throttled {
				throttled, resp.StatusCode = true, http.StatusTooManyRequests
				resp.Header.Set("Retry-After", "30")
			}
			return resp, nil
		})
		var requests sync.WaitGroup
		send := func(method, path string) {
			requests.Go(func() {
				req, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+path, nil)
				if err == nil {
					_, err = r.RoundTrip(req)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		until := time.Now().Add(30 * time.Second)
		send(http.MethodHead, "/v2/a/blobs/sha256:0")
		for range 5 {
			send(http.MethodGet, "/v2/a/manifests/v1")
		}
		synctest.Wait()
		want := []Wait{
			{Host: host, Action: BatchGetImage, Requests: 3, PerSecond: 2},
			{Host: host, Action: BatchCheckLayerAvailability, Requests: 1, Until: until},
		}
		if diff := cmp.Diff(want, r.buckets.waits()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		requests.Wait()
		if got := r.buckets.waits(); len(got) > 0 {
			t.Errorf("no request waits, and yet: %+v", got)
		}
	})
}

// A pause that is extended while a request waits holds for it as well.
func TestExtendedPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, start := &bucket{rate: rate.NewLimiter(rate.Inf, 0)}, time.Now()
		b.pause(10 * time.Second)
		time.AfterFunc(5*time.Second, func() { b.pause(20 * time.Second) })
		if err := b.wait(t.Context(), start.Add(time.Hour)); err != nil || time.Since(start) != 25*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// A request is sent again with its whole body, or not at all.
func TestBodiesOfRetries(t *testing.T) {
	for name, tc := range map[string]struct {
		body   func() io.Reader
		want   []string // the bodies that the registry reads
		status int
	}{
		"a body that can be read again": {func() io.Reader { return strings.NewReader("content") }, []string{"content", "content"}, http.StatusOK},
		"one that cannot":               {func() io.Reader { return io.MultiReader(strings.NewReader("content")) }, []string{"content"}, http.StatusServiceUnavailable},
		"none":                          {func() io.Reader { return http.NoBody }, []string{"", ""}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				r := &retryTransport{maxWait: time.Hour, warn: func(string) {}, buckets: buckets{limits: func(string) Limits { return nil }}}
				r.base = roundTripper(func(req *http.Request) (*http.Response, error) {
					text, err := io.ReadAll(req.Body)
					got = append(got, string(text))
					status := http.StatusServiceUnavailable
					if len(got) > 1 {
						status = http.StatusOK
					}
					return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, err
				})
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://r.example.com/v2/a/manifests/v1", tc.body())
				if err != nil {
					t.Fatal(err)
				}
				resp, err := r.RoundTrip(req)
				if err != nil || resp.StatusCode != tc.status || !slices.Equal(got, tc.want) {
					t.Errorf("%v, %v, bodies %q; want status %d, %q", resp, err, got, tc.status, tc.want)
				}
			})
		})
	}
}
