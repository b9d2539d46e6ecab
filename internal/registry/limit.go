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

// Action is what a request counts as at ECR.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
type Action string

// The actions of ECR's data plane.
const (
	PutImage                    Action = "PutImage"
	InitiateLayerUpload         Action = "InitiateLayerUpload"
	UploadLayerPart             Action = "UploadLayerPart"
	CompleteLayerUpload         Action = "CompleteLayerUpload"
	BatchCheckLayerAvailability Action = "BatchCheckLayerAvailability"
	BatchGetImage               Action = "BatchGetImage"
	GetDownloadURLForLayer      Action = "GetDownloadUrlForLayer"
)

// Limits are requests a second for each action; what is missing is not limited.
type Limits map[Action]float64

// ECRLimits are four fifths of ECR's default quotas: other clients share them.
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

// action tells which quota a request takes from; "" for none.
func action(r *http.Request) Action {
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

// limiter keeps within the limits and, when a registry says 429 all the same,
// holds back every request of that action, not only the one that was told so.
type limiter struct {
	base   http.RoundTripper
	limits func(host string) Limits

	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket is one action's at one host.
type bucket struct {
	tokens *rate.Limiter

	mu    sync.Mutex
	until time.Time // nobody may ask before
}

func (l *limiter) RoundTrip(r *http.Request) (*http.Response, error) {
	b := l.bucket(r.URL.Host, action(r))
	if err := b.wait(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	resp, err := l.base.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusTooManyRequests {
		b.hold(retryAfter(resp, time.Second))
	}
	return resp, err
}

func (l *limiter) bucket(host string, a Action) *bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := host + " " + string(a)
	b, ok := l.buckets[key]
	if !ok {
		b = &bucket{tokens: rate.NewLimiter(rate.Inf, 0)}
		if perSecond, limited := l.limits(host)[a]; limited {
			b.tokens = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
		}
		l.buckets[key] = b
	}
	return b
}

// wait takes a token, and returns not before a held bucket is free.
func (b *bucket) wait(ctx context.Context) error {
	if err := b.tokens.Wait(ctx); err != nil {
		return err
	}
	for {
		b.mu.Lock()
		left := time.Until(b.until)
		b.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if err := Sleep(ctx, left); err != nil {
			return err
		}
	}
}

func (b *bucket) hold(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.until) {
		b.until = until
	}
}

// retryAfter is what the registry asks for: seconds or a date (RFC 9110, 10.2.3).
func retryAfter(resp *http.Response, otherwise time.Duration) time.Duration {
	v := resp.Header.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return otherwise
}

// Sleep waits, and returns the cause if the context ends before.
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
