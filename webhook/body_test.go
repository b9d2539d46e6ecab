// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sizes of bodies, one in each class.
const (
	aMedium = smallBody + 1
	aLarge  = mediumBody + 1
)

// announce opens a connection whose request announces a body and sends only the
// beginning of it.
func (r *running) announce(t *testing.T, config *tls.Config, size int) *tls.Conn {
	t.Helper()
	raw, err := r.reviews.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, config)
	if _, err := fmt.Fprintf(c, "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", size); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return c
}

// sized returns a review of the size.
func sized(n int) []byte {
	review := createReview("1", podOf(1, "busybox"))
	return append(bytes.TrimSuffix(review, []byte("\n")), strings.Repeat(" ", n-len(review)+1)...)
}

// post sends a review of the size and returns the answer without its body.
func (r *running) post(t *testing.T, size int) *http.Response {
	t.Helper()
	response, err := r.client.Post("https://webhook/mutate", "application/json", bytes.NewReader(sized(size)))
	if err != nil {
		t.Error(err)
		return &http.Response{}
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	return response
}

func TestSlowBodiesDelayNoOthers(t *testing.T) {
	cert, roots := identity(t)
	for name, tc := range map[string]struct{ slow, number, review int }{
		"small reviews pass many that announce a large body":  {aLarge, 100, 2000},
		"medium reviews pass many that announce a large body": {aLarge, 100, mediumBody},
		"small reviews pass many that announce a medium body": {aMedium, 200, smallBody},
		"small reviews pass many that announce a small one":   {smallBody, 200, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, cert, roots, nil)
				for range tc.number {
					defer r.announce(t, &tls.Config{RootCAs: roots, ServerName: "example.com"}, tc.slow).NetConn().Close()
				}
				start := time.Now()
				if status, waited := r.post(t, tc.review).StatusCode, time.Since(start); status != http.StatusOK || waited > 0 {
					t.Errorf("HTTP %d after %v", status, waited)
				}
			})
		})
	}
}

func TestABodyThatArrivesSlowlyLosesItsSlot(t *testing.T) {
	cert, roots := identity(t)
	for _, size := range []int{aMedium, aLarge, maxBody} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, cert, roots, nil)
				c := r.announce(t, &tls.Config{RootCAs: roots, ServerName: "example.com"}, size)
				defer c.NetConn().Close()
				start := time.Now()
				answer, _ := io.ReadAll(c)
				if waited := time.Since(start); !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || waited < bodyTime || waited > 2*bodyTime {
					t.Errorf("after %v: %.200s", waited, answer)
				}
				if status := r.post(t, size).StatusCode; status != http.StatusOK {
					t.Errorf("the slot is not free for the next: HTTP %d", status)
				}
			})
		})
	}
}

func TestTooManyLargeBodiesAreToldToComeBack(t *testing.T) {
	cert, roots := identity(t)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := run(t, cert, roots, func(c *ServerConfig) {
			h, err := NewHandler(HandlerConfig{Metrics: c.Metrics, Patcher: func() *Patcher {
				<-release
				return testPatcher(t)
			}})
			if err != nil {
				t.Fatal(err)
			}
			c.Handler = h
		})
		first := make(chan *http.Response, 1)
		go func() { first <- r.post(t, aLarge) }()
		synctest.Wait()
		start := time.Now()
		response := r.post(t, aLarge)
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" || time.Since(start) != slotWait {
			t.Errorf("HTTP %d after %v, Retry-After %q", response.StatusCode, time.Since(start), response.Header.Get("Retry-After"))
		}
		expectMetrics(t, r.config.Metrics, map[string]float64{`privatelink_requests_rejected_total{reason="busy"}`: 1})
		close(release)
		if response := <-first; response.StatusCode != http.StatusOK {
			t.Errorf("the first: HTTP %d", response.StatusCode)
		}
	})
}
