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

// tries is how often one request, or one blob, is tried.
const tries = 5

// policy decides about one request. Being told to wait is not a failure, so it
// does not count as a try; only patience ends it.
type policy struct {
	deadline time.Time
	failures int
}

func newPolicy(patience time.Duration) *policy { return &policy{deadline: time.Now().Add(patience)} }

// Retry implements the policy of oras-go's transport.
func (p *policy) Retry(_ int, resp *http.Response, err error) (time.Duration, error) {
	const never = -1
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		wait := max(retryAfter(resp, Backoff(p.failures+1)), 50*time.Millisecond)
		if time.Now().Add(wait).After(p.deadline) {
			return never, nil
		}
		return wait, nil
	}
	if err != nil && !passing(err) || err == nil && !passingStatus(resp.StatusCode) {
		return never, nil
	}
	if p.failures++; p.failures >= tries {
		return never, nil
	}
	return Backoff(p.failures), nil
}

// Backoff is how long to wait after so many failures, with jitter: 0.2 s, 0.4 s,
// … up to 10 s.
func Backoff(failures int) time.Duration {
	d := min(10*time.Second, 100*time.Millisecond<<min(failures, 7))
	return d/2 + rand.N(d)
}

func passingStatus(status int) bool {
	return status == http.StatusRequestTimeout || status >= 500 && status != http.StatusNotImplemented && status != http.StatusInsufficientStorage
}

// passing tells of errors of the network that another try can cure.
func passing(err error) bool {
	if errors.Is(err, context.Canceled) || err == context.DeadlineExceeded {
		return false
	}
	var n net.Error
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errStalled):
		return true
	}
	return errors.As(err, &n) && n.Timeout()
}
