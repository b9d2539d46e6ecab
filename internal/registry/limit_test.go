// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
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
