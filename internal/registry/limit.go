// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Action is the ECR API action whose quota a request counts against.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
type Action string

// Actions of the ECR data plane.
const (
	PutImage                    Action = "PutImage"
	InitiateLayerUpload         Action = "InitiateLayerUpload"
	UploadLayerPart             Action = "UploadLayerPart"
	CompleteLayerUpload         Action = "CompleteLayerUpload"
	BatchCheckLayerAvailability Action = "BatchCheckLayerAvailability"
	BatchGetImage               Action = "BatchGetImage"
	GetDownloadURLForLayer      Action = "GetDownloadUrlForLayer"
)

// Limits are requests per second for each action. Actions that are not in the map
// are not limited.
type Limits map[Action]float64

// ECRLimits returns 80 percent of the default quotas of ECR, which other clients of
// the account share.
func ECRLimits() Limits {
	return Limits{PutImage: 8, InitiateLayerUpload: 80, CompleteLayerUpload: 80, UploadLayerPart: 400,
		BatchCheckLayerAvailability: 800, BatchGetImage: 1600, GetDownloadURLForLayer: 2400}
}

func defaultLimits(host string) Limits {
	if rewrite.IsECRHost(host) {
		return ECRLimits()
	}
	return nil
}

// actionOf returns the action of a request, or "" if it has none.
func actionOf(r *http.Request) Action {
	path := r.URL.Path
	switch {
	case strings.Contains(path, "/blobs/uploads/"):
		switch r.Method {
		case http.MethodPost:
			return InitiateLayerUpload
		case http.MethodPatch:
			return UploadLayerPart
		case http.MethodPut:
			return CompleteLayerUpload
		}
	case strings.Contains(path, "/blobs/"):
		switch r.Method {
		case http.MethodHead:
			return BatchCheckLayerAvailability
		case http.MethodGet:
			return GetDownloadURLForLayer
		}
	case strings.Contains(path, "/manifests/"), strings.Contains(path, "/referrers/"):
		if r.Method == http.MethodPut {
			return PutImage
		}
		return BatchGetImage
	}
	return ""
}

// rateLimiter is a transport that delays requests to stay within the limits. When
// a registry responds with 429 nevertheless, all requests of the same action wait,
// not only the one that was rejected.
type rateLimiter struct {
	base   http.RoundTripper
	limits func(host string) Limits

	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket limits one action at one host.
type bucket struct {
	rate *rate.Limiter

	mu          sync.Mutex
	pausedUntil time.Time
}

func (l *rateLimiter) RoundTrip(r *http.Request) (*http.Response, error) {
	b := l.bucket(r.URL.Host, actionOf(r))
	if err := b.wait(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	resp, err := l.base.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		b.pause(retryAfter(resp, time.Second))
	}
	return resp, err
}

func (l *rateLimiter) bucket(host string, a Action) *bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := host + " " + string(a)
	b, ok := l.buckets[key]
	if !ok {
		b = &bucket{rate: rate.NewLimiter(rate.Inf, 0)}
		if perSecond, limited := l.limits(host)[a]; limited {
			b.rate = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
		}
		l.buckets[key] = b
	}
	return b
}

// wait waits for the rate limit, and then until the bucket is no longer paused.
func (b *bucket) wait(ctx context.Context) error {
	if err := b.rate.Wait(ctx); err != nil {
		return err
	}
	for {
		b.mu.Lock()
		left := time.Until(b.pausedUntil)
		b.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if err := Sleep(ctx, left); err != nil {
			return err
		}
	}
}

func (b *bucket) pause(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.pausedUntil) {
		b.pausedUntil = until
	}
}

// retryAfter returns the delay that the Retry-After header of a response asks for,
// in seconds or as a date, or the fallback if the header is missing or invalid.
// https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
func retryAfter(resp *http.Response, fallback time.Duration) time.Duration {
	v := resp.Header.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return fallback
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
