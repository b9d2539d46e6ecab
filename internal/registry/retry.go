// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"time"
)

// maxAttempts is the number of times that a request or a download is attempted.
const maxAttempts = 5

// retryPolicy decides about the retries of one request. Throttling is not a
// failure, so it is limited by a deadline and not by the number of attempts.
type retryPolicy struct {
	deadline time.Time
	failures int
}

func newRetryPolicy(maxWait time.Duration) *retryPolicy {
	return &retryPolicy{deadline: time.Now().Add(maxWait)}
}

// Retry implements retry.Policy of oras-go.
func (p *retryPolicy) Retry(_ int, resp *http.Response, err error) (time.Duration, error) {
	const never = -1
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		wait := max(retryAfter(resp, Backoff(p.failures+1)), 50*time.Millisecond)
		if time.Now().Add(wait).After(p.deadline) {
			return never, nil
		}
		return wait, nil
	}
	if err != nil && !isTransient(err) || err == nil && !isTransientStatus(resp.StatusCode) {
		return never, nil
	}
	if p.failures++; p.failures >= maxAttempts {
		return never, nil
	}
	return Backoff(p.failures), nil
}

// Backoff returns how long to wait after a number of consecutive failures: about
// 0.2 s, 0.4 s, … up to 10 s, with a jitter of 50 percent.
func Backoff(failures int) time.Duration {
	d := min(10*time.Second, 100*time.Millisecond<<min(failures, 7))
	return d/2 + rand.N(d)
}

func isTransientStatus(status int) bool {
	return status == http.StatusRequestTimeout || status >= 500 && status != http.StatusNotImplemented && status != http.StatusInsufficientStorage
}

// isTransient reports whether an error of the network may disappear with a retry.
func isTransient(err error) bool {
	if errors.Is(err, context.Canceled) || err == context.DeadlineExceeded {
		return false
	}
	var network net.Error
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errStalled):
		return true
	}
	return errors.As(err, &network) && network.Timeout()
}
