// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// ecrLimits returns 80 percent of the default quotas of ECR, which other clients of
// the account share.
func ecrLimits() Limits {
	return Limits{PutImage: 8, InitiateLayerUpload: 80, CompleteLayerUpload: 80, UploadLayerPart: 400,
		BatchCheckLayerAvailability: 800, BatchGetImage: 1600, GetDownloadURLForLayer: 2400}
}

func defaultLimits(host string) Limits {
	if rewrite.IsECRHost(host) {
		return ecrLimits()
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

// repositoryPath is the path of a request for the content of a repository.
var repositoryPath = regexp.MustCompile(`^/v2/(.+)/(?:manifests|blobs|referrers|tags)/`)

// buckets has a bucket for each thing that a registry may limit: an action of an
// account at ECR, and otherwise an action in a repository, so that a registry that
// limits one image does not stop the others.
type buckets struct {
	limits func(host string) Limits

	mu  sync.Mutex
	all map[string]*bucket
}

// bucket delays requests to stay within a rate, and while the registry asks for it.
type bucket struct {
	host    string
	action  Action
	rate    *rate.Limiter
	waiting atomic.Int64 // requests

	mu          sync.Mutex
	pausedUntil time.Time
}

func (l *buckets) of(r *http.Request) *bucket {
	action, limits := actionOf(r), l.limits(r.URL.Host)
	key := r.URL.Host + " " + string(action)
	if m := repositoryPath.FindStringSubmatch(r.URL.Path); m != nil && limits == nil {
		key += " " + m[1]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.all[key]
	if !ok {
		b = &bucket{host: r.URL.Host, action: action, rate: rate.NewLimiter(rate.Inf, 0)}
		if perSecond, limited := limits[action]; limited {
			b.rate = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
		}
		if l.all == nil {
			l.all = map[string]*bucket{}
		}
		l.all[key] = b
	}
	return b
}

// wait waits for the rate limit, and then until the bucket is no longer paused. If
// the pause ends after the deadline, it returns a WaitError at once.
func (b *bucket) wait(ctx context.Context, deadline time.Time) error {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	if err := b.rate.Wait(ctx); err != nil {
		return err
	}
	for {
		b.mu.Lock()
		until := b.pausedUntil
		b.mu.Unlock()
		left := time.Until(until)
		switch {
		case left <= 0:
			return nil
		case until.After(deadline):
			return &WaitError{Host: b.host, Until: until}
		}
		if err := Sleep(ctx, left); err != nil {
			return err
		}
	}
}

// sleep waits before a request is repeated.
func (b *bucket) sleep(ctx context.Context, d time.Duration) error {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	return Sleep(ctx, d)
}

// Wait is what requests wait for: to stay within the rate of an action, until the
// registry accepts more of them, or to be repeated after a fault.
type Wait struct {
	Host   string
	Action Action // empty for requests that are no action of ECR
	// Requests is how many wait.
	Requests int64
	// PerSecond is the rate that the client keeps; 0 without a limit.
	PerSecond float64
	// Until is the end of the pause that the registry asks for; zero if it asks for none.
	Until time.Time
}

// waits returns what requests wait for at the moment, the most requests first.
func (l *buckets) waits() (waits []Wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.all {
		if n := b.waiting.Load(); n > 0 {
			waits = append(waits, b.describe(n))
		}
	}
	slices.SortFunc(waits, func(a, b Wait) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Action, b.Action))
	})
	return waits
}

func (b *bucket) describe(requests int64) Wait {
	w := Wait{Host: b.host, Action: b.action, Requests: requests}
	if limit := b.rate.Limit(); limit != rate.Inf {
		w.PerSecond = float64(limit)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pausedUntil.After(time.Now()) {
		w.Until = b.pausedUntil
	}
	return w
}

// pause delays all requests of the bucket, and returns until when. It also reports
// whether the bucket was not paused before.
func (b *bucket) pause(d time.Duration) (until time.Time, isNew bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	isNew = !b.pausedUntil.After(now)
	if until := now.Add(d); until.After(b.pausedUntil) {
		b.pausedUntil = until
	}
	return b.pausedUntil, isNew
}

// maxRetryAfter is the longest wait that is computed with. Larger values could
// overflow a Duration.
const maxRetryAfter = 365 * 24 * time.Hour

// minUnixTime separates the seconds of a wait from a Unix time. It is 31 years as a
// wait, and in 2001 as a time.
const minUnixTime = 1_000_000_000

// retryAfter returns the delay that the Retry-After header of a response asks for, or
// the fallback if the header is missing or invalid. The header is a number of
// seconds or a date (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3); Docker
// Hub sends a Unix time (https://github.com/docker/hub-feedback/issues/2459).
func retryAfter(resp *http.Response, now time.Time, fallback time.Duration) time.Duration {
	text := strings.TrimSpace(resp.Header.Get("Retry-After"))
	seconds, fraction, hasFraction := strings.Cut(text, ".")
	n, err := strconv.ParseUint(seconds, 10, 63)
	var wait time.Duration
	switch {
	case errors.Is(err, strconv.ErrRange):
		wait = maxRetryAfter
	case err == nil && hasFraction && strings.Trim(fraction, "0123456789") != "":
		return fallback
	case err == nil:
		after := int64(n)
		if after >= minUnixTime {
			after -= now.Unix()
		}
		wait = time.Duration(max(0, min(after, int64(maxRetryAfter/time.Second)))) * time.Second
		if hasFraction {
			wait += time.Second
		}
	default:
		date, err := http.ParseTime(text)
		if err != nil {
			return fallback
		}
		wait = date.Sub(now)
	}
	return max(0, min(wait, maxRetryAfter))
}
