// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"testing"
	"time"
)

var lags = []time.Duration{0, 15 * time.Minute, time.Hour, 6 * time.Hour, day}

// upgrades are what a customer who takes each version after a lag has seen.
type upgrades struct {
	total int
	// missed met an image that was not there. Of those in an outage, a run between the
	// release and the upgrade could not do its work.
	missed, inOutage int
	longest          time.Duration // until the image was there
}

// count evaluates a lag. available is when an image was copied.
func (r *replay) count(lag time.Duration, available func(image string) time.Duration) (u upgrades) {
	for _, v := range releases() {
		at := v.at + lag
		if v.at == 0 || at >= min(v.yanked, r.length) {
			continue
		}
		u.total++
		var wait time.Duration
		for _, image := range v.images {
			wait = max(wait, min(available(image), r.length)-at)
		}
		switch {
		case wait <= 0:
			continue
		case r.hasOutage(v.at, at):
			u.inOutage++
		default:
			u.missed++
		}
		u.longest = max(u.longest, wait)
	}
	return u
}

func (r *replay) hasOutage(from, to time.Duration) bool {
	for _, at := range r.times() {
		if _, isOutage := faultAt(at); isOutage && at >= from && at <= to {
			return true
		}
	}
	return false
}

// ours is when a run copied an image.
func (r *replay) ours(image string) time.Duration {
	if at, ok := r.available[image]; ok {
		return at
	}
	return never
}

// ideal is when a mirror that copies everything in no time has an image: at the first run
// without an outage that finds a version with it in the index.
func (r *replay) ideal() func(image string) time.Duration {
	times := map[string]time.Duration{}
	for _, v := range releases() {
		at := r.firstGood(v.at)
		if at >= v.yanked {
			continue
		}
		for _, image := range v.images {
			if known, ok := times[image]; !ok || at < known {
				times[image] = at
			}
		}
	}
	return func(image string) time.Duration {
		if at, ok := times[image]; ok {
			return at
		}
		return never
	}
}

func (r *replay) firstGood(from time.Duration) time.Duration {
	if from == 0 {
		return 0
	}
	for _, at := range r.times() {
		if _, isOutage := faultAt(at); !isOutage && at >= from {
			return at
		}
	}
	return never
}

// compare fails the test if an upgrade missed an image that the ideal mirror has.
func (r *replay) compare(t *testing.T) {
	t.Helper()
	ideal := r.ideal()
	for _, lag := range lags {
		ours, best := r.count(lag, r.ours), r.count(lag, ideal)
		if ours.total == 0 || ours.missed > best.missed || ours.inOutage > best.inOutage || ours.longest > best.longest {
			t.Errorf("a run every %v and a lag of %v: %+v, and ideally %+v", r.every, lag, ours, best)
		}
		if r.every <= time.Hour && lag >= r.every && ours.missed > 0 {
			t.Errorf("a run every %v and a lag of %v: %d upgrades missed an image outside of outages", r.every, lag, ours.missed)
		}
	}
}
