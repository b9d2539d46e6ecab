// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/progress"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/transfer"
)

// A replay is one schedule: a run every so often, and when each image was copied.
type replay struct {
	*world
	every, length time.Duration
	lockFile      string
	cache         chart.Cache

	coming    []event   // that are not in the index yet
	listed    []release // in the index
	isDone    bool      // whether the last run did all its work
	available map[string]time.Duration
	locked    map[string]bool // images that the lock has or had

	runs, failed int
	used         usage
	quiet        quietRun
}

// quietRun is what a run without news takes.
type quietRun struct {
	took time.Duration
	used usage
}

// newReplay has all in the private registry that is there from the start.
func newReplay(t *testing.T, every, length time.Duration) *replay {
	t.Helper()
	dir := t.TempDir()
	r := &replay{world: newWorld(t), every: every, length: length, coming: events(releases()), lockFile: filepath.Join(dir, "privatelink.lock.yaml"),
		cache: chart.Cache{Dir: filepath.Join(dir, "cache")}, available: map[string]time.Duration{}, locked: map[string]bool{}}
	r.list(t, 0)
	if out, err := r.mirror(t.Context(), lockstore.File(r.lockFile), r.cache); err != nil {
		t.Fatalf("the first run: %v\n%s", err, out)
	}
	r.isDone = true
	r.taken()
	r.check(t, 0)
	r.private.Set(func(s *fakeecr.Switches) { s.Quotas = fakeecr.DefaultQuotas() }) // of all of ECR's
	r.measureQuiet(t)
	return r
}

// mirror does a run, and returns what it prints.
func (r *replay) mirror(ctx context.Context, store lockstore.Store, cache chart.Cache) (out string, err error) {
	var text bytes.Buffer
	o := transfer.CopyOptions{
		Options: transfer.Options{Rules: r.rules, Reporter: progress.New(progress.Options{Out: &text, ErrOut: &text}), PlainHTTP: []string{r.publicHost}, Parallel: 8},
		Sources: selection.Sources{Track: true, TrackCache: cache}, Lock: selection.LockFile{Name: r.lockFile, Store: store},
	}
	o.Sources.Warnf = o.Reporter.Warnf
	err = transfer.Mirror(ctx, o)
	return text.String(), err
}

// measureQuiet takes the middle of five runs without news.
func (r *replay) measureQuiet(t *testing.T) {
	t.Helper()
	var times []time.Duration
	for range 5 {
		begin := time.Now()
		out, err := r.mirror(t.Context(), lockstore.File(r.lockFile), r.cache)
		if err != nil {
			t.Fatalf("a run without news: %v\n%s", err, out)
		}
		times = append(times, time.Since(begin))
		r.takeQuiet(t)
	}
	slices.Sort(times)
	r.quiet.took = times[len(times)/2]
}

// takeQuiet fails the test if a run without news asked for more than it has to.
func (r *replay) takeQuiet(t *testing.T) {
	t.Helper()
	if r.quiet.used = r.taken(); r.quiet.used.charts.requests != 1 || r.quiet.used.public.requests != 0 {
		t.Errorf("a run without news made %d requests to the chart repository and %d to the public registry", r.quiet.used.charts.requests, r.quiet.used.public.requests)
	}
}

// times are those of all runs. The only run of a day is at 10:00.
func (r *replay) times() (all []time.Duration) {
	for at := 10 * time.Hour % r.every; at < r.length; at += r.every {
		all = append(all, at)
	}
	return all
}

// replay does the runs in order. Of the runs without news, the first of each day is done,
// and the others are counted as it.
func (r *replay) replay(t *testing.T) {
	t.Helper()
	for _, now := range r.times() {
		hasNews := r.list(t, now)
		f, isOutage := faultAt(now)
		isQuiet := f == "" && !hasNews && r.isDone
		r.runs++
		if isQuiet && now%day >= r.every {
			r.used.add(r.quiet.used)
			continue
		}
		ctx, store, restore := r.inject(t.Context(), f, lockstore.File(r.lockFile))
		out, err := r.mirror(ctx, store, r.cache)
		restore()
		if err != nil && !isOutage {
			t.Errorf("%v %s: %v\n%s", now, f, err, out)
		}
		if err != nil {
			r.failed++
		}
		r.isDone = err == nil
		if isQuiet {
			r.takeQuiet(t)
			r.used.add(r.quiet.used)
		} else {
			r.used.add(r.taken())
		}
		if r.check(t, now); t.Failed() {
			t.Fatalf("%v: %v\n%s", now, err, out)
		}
	}
}

// list makes the index that of a time, and reports whether it has changed.
func (r *replay) list(t *testing.T, now time.Duration) (hasNews bool) {
	t.Helper()
	for ; len(r.coming) > 0 && r.coming[0].at <= now; r.coming = r.coming[1:] {
		hasNews = true
		e := r.coming[0].release
		if !r.coming[0].isYank {
			r.publish(t, e)
			r.listed = append(r.listed, e)
			continue
		}
		r.world.charts.yank(e)
		r.listed = slices.DeleteFunc(r.listed, func(l release) bool { return l.chart == e.chart && l.version == e.version })
	}
	return hasNews
}

// check records what is in the private registry after a run. After one that did all its
// work, that is every image of the index. What was in the registry or the lock once is
// there for good.
func (r *replay) check(t *testing.T, now time.Duration) {
	t.Helper()
	for image := range r.available {
		if !r.has(image) {
			t.Errorf("%s vanished from the registry", image)
		}
	}
	for _, l := range r.listed {
		for _, image := range l.images {
			_, known := r.available[image]
			switch {
			case known:
			case r.has(image):
				r.available[image] = now
			case r.isDone:
				t.Errorf("%s %s needs %s, which the run did not copy", l.chart, l.version, image)
			}
		}
	}
	r.checkLock(t)
}

func (r *replay) checkLock(t *testing.T) {
	t.Helper()
	l, err := lock.Read(r.lockFile)
	if err != nil {
		t.Errorf("the lock: %v", err)
		return
	}
	sources := map[string]bool{}
	for _, e := range l.Images {
		image := strings.TrimPrefix(e.Source, r.publicHost+"/")
		sources[image], r.locked[image] = true, true
		repository, tag, _ := strings.Cut(image, ":")
		if got := r.private.Tag(r.prefix+repository, tag); got != e.Digest {
			t.Errorf("the lock has %s as %s, and the registry as %q", image, e.Digest, got)
		}
	}
	for image := range r.locked {
		if !sources[image] {
			t.Errorf("%s vanished from the lock", image)
		}
	}
	if !r.isDone {
		return
	}
	for image := range r.available {
		if !sources[image] {
			t.Errorf("the registry has %s, and the lock does not", image)
		}
	}
}
