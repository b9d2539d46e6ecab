// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

type fault string

const (
	chartsAway  fault = "the chart repository answers 503"
	publicAway  fault = "the public registry answers 503"
	throttled   fault = "ECR answers 429"
	halfway     fault = "ECR answers every second upload with 429"
	interrupted fault = "the run is interrupted between two images"           // as by SIGTERM
	killed      fault = "the run ends between two images, and writes no lock" // as by SIGKILL
)

// A window is a fault of the runs from a time until before another.
type window struct {
	fault    fault
	from, to time.Duration
}

// isOutage reports whether a run in the window cannot do its work.
func (w window) isOutage() bool { return w.fault != halfway }

// faults are those of the quarter. Each kind is on working days.
func faults() []window {
	morning := func(d int, f fault, hours time.Duration) window {
		from := time.Duration(d)*day + 9*time.Hour
		return window{f, from, from + hours*time.Hour}
	}
	return []window{
		{chartsAway, 1 * day, 2 * day}, morning(2, publicAway, 6), morning(3, throttled, 4), morning(4, interrupted, 3), {killed, 4*day + 13*time.Hour, 4*day + 15*time.Hour},
		{halfway, 4*day + 15*time.Hour, 5 * day},
		{chartsAway, 16 * day, 17 * day}, morning(23, throttled, 12), morning(31, publicAway, 24), morning(38, killed, 4), morning(45, interrupted, 4),
		{halfway, 51 * day, 52 * day}, {chartsAway, 58 * day, 59 * day}, morning(72, throttled, 24),
	}
}

// faultAt returns the fault of a run, "" if there is none.
func faultAt(at time.Duration) (f fault, isOutage bool) {
	for _, w := range faults() {
		if at >= w.from && at < w.to {
			return w.fault, w.isOutage()
		}
	}
	return "", false
}

// inject makes the world have the fault during one run, with the context and the lock of
// the run. restore ends it.
func (w *world) inject(ctx context.Context, f fault, store lockstore.Store) (_ context.Context, _ lockstore.Store, restore func()) {
	ctx, cancel := context.WithCancel(ctx)
	restore = func() {
		cancel()
		w.charts.setAway(false)
		w.setPublic(true)
		w.private.ClearFaults()
	}
	tooMany := fakeecr.Fault{Status: http.StatusTooManyRequests, Code: "TOOMANYREQUESTS", Message: "Rate exceeded"}
	switch f {
	case chartsAway:
		w.charts.setAway(true)
	case publicAway:
		w.setPublic(false)
	case throttled:
		tooMany.Header = http.Header{"Retry-After": {"3600"}} // so that no run waits in real time
		w.private.Inject(tooMany)
	case halfway:
		tooMany.Match = every(2, fakeecr.PutImage, nil)
		w.private.Inject(tooMany)
	case interrupted, killed:
		w.private.Inject(fakeecr.Fault{Match: every(4, fakeecr.PutImage, cancel)})
		if f == killed {
			store = killedStore{store}
		}
	}
	return ctx, store, restore
}

// every matches each n-th request of an action, and calls then for each.
func every(n int64, action string, then func()) func(fakeecr.Request) bool {
	var count atomic.Int64
	return func(r fakeecr.Request) bool {
		if r.Action != action || count.Add(1)%n != 0 {
			return false
		}
		if then != nil {
			then()
		}
		return true
	}
}

// killedStore is the lock of a run that does not live to write it.
type killedStore struct{ lockstore.Store }

func (killedStore) Write(context.Context, *lock.Lock) error { return errors.New("killed") }
