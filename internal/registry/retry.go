// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// maxAttempts is the number of times that a request or a download is attempted.
const maxAttempts = 5

// retryTransport sends requests again that failed for a reason that may pass, and
// waits as long as a registry asks for. Throttling is not a failure, so it is limited
// by maxWait and not by the number of attempts.
type retryTransport struct {
	base    http.RoundTripper
	buckets buckets
	maxWait time.Duration
	warn    func(message string)
}

// RoundTrip implements http.RoundTripper. If the body of a request cannot be sent
// again, the caller has to retry; the wait is kept in the request's bucket.
func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	b := t.buckets.of(req)
	deadline := time.Now().Add(t.maxWait)
	for failures, throttled := 0, 0; ; {
		if err := b.wait(req.Context(), deadline); err != nil {
			closeBody(req)
			return nil, err
		}
		resp, err := t.base.RoundTrip(req)
		var wait time.Duration
		switch {
		case err == nil && isThrottling(resp):
			if isPullLimit(resp) {
				return resp, nil // it lasts for hours
			}
			throttled++
			wait = max(retryAfter(resp, time.Now(), 0), Backoff(throttled))
			if until, isNew := b.pause(wait); isNew && wait >= minWarnedWait {
				t.warn(req.URL.Host + " asks to wait until " + until.Format(timeFormat))
			}
			if until := time.Now().Add(wait); until.After(deadline) {
				_ = resp.Body.Close() // the error says what the response does
				return nil, &WaitError{Host: req.URL.Host, Until: until}
			}
		case isTransient(err), err == nil && isTransientStatus(resp.StatusCode):
			if failures++; failures >= maxAttempts {
				return resp, err
			}
			wait = Backoff(failures)
		default:
			return resp, err
		}
		repeated, ok := rewind(req)
		if !ok {
			return resp, err
		}
		req = repeated
		if resp != nil {
			_ = resp.Body.Close() // it is replaced by that of the next attempt
		}
		if err := b.sleep(req.Context(), wait); err != nil {
			closeBody(req)
			return nil, err
		}
	}
}

// minWarnedWait is a wait that a user would otherwise take for a hang.
const minWarnedWait = 5 * time.Second

// timeFormat is the format of times in messages.
const timeFormat = "2006-01-02 15:04:05 MST"

// isThrottling reports whether a response asks to wait.
func isThrottling(resp *http.Response) bool {
	return resp.StatusCode == http.StatusTooManyRequests ||
		isTransientStatus(resp.StatusCode) && retryAfter(resp, time.Now(), -1) >= 0
}

// isPullLimit reports whether a response is that of Docker Hub to a client that has
// used up its pulls of several hours. The body remains readable.
// https://docs.docker.com/docker-hub/usage/pulls/
func isPullLimit(resp *http.Response) bool {
	return slices.ContainsFunc(errorDetails(resp), ErrorDetail.isPullLimit)
}

func (d ErrorDetail) isPullLimit() bool { return strings.Contains(d.Message, "pull rate limit") }

// rewind returns a copy of a request that was sent, with its body at the start. It
// returns false if the body cannot be read again.
func rewind(req *http.Request) (*http.Request, bool) {
	repeated := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		return repeated, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	repeated.Body = body
	return repeated, err == nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // required of a RoundTripper
	}
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
	var errno syscall.Errno
	switch {
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, errStalled):
		return true
	case errors.As(err, &errno) && isConnectionError(runtime.GOOS, errno):
		return true
	}
	return errors.As(err, &network) && network.Timeout()
}

// isConnectionError reports whether a system call failed because a connection was
// refused or broke. On Windows, sockets fail with codes that differ from the
// constants of package syscall.
// https://learn.microsoft.com/en-us/windows/win32/winsock/windows-sockets-error-codes-2
func isConnectionError(goos string, errno syscall.Errno) bool {
	switch errno {
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED:
		return true
	case 10053, 10054, 10060, 10061: // aborted, reset, timed out, refused
		return goos == "windows"
	}
	return false
}

// Sleep waits for a duration. If the context ends first, it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
