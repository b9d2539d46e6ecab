// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestTheMostUrgentTaskIsFirst(t *testing.T) {
	s := newSchedule()
	var order []string
	for _, w := range []struct {
		rank rank
		size int64
	}{{rankBlob, 5}, {rankManifest, 0}, {rankBlob, 9}, {rankMount, 1}, {rankMount, 2}, {rankSource, 3}} {
		s.add(&task{size: w.size, work: work{rank: w.rank, run: func(context.Context) error {
			order = append(order, fmt.Sprint(w.rank, " ", w.size))
			return nil
		}}}, nil)
	}
	s.run(t.Context(), 1)
	if want := []string{"3 0", "2 2", "2 1", "1 3", "0 9", "0 5"}; !slices.Equal(order, want) {
		t.Errorf("rank and size %v, want %v", order, want)
	}
}

func TestBatches(t *testing.T) {
	for name, tc := range map[string]struct {
		limit, parallel int
		want            []int // sizes
	}{
		"of as many as the limit":         {limit: 2, parallel: 2, want: []int{2, 2, 1}},
		"of as many as may run":           {limit: 8, parallel: 3, want: []int{3, 2}},
		"of all":                          {limit: 8, parallel: 8, want: []int{5}},
		"of fewer than may run at a time": {limit: 1, parallel: 1, want: []int{1, 1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSchedule()
			var sizes []int
			b := &batch{limit: tc.limit, run: func(_ context.Context, tasks []*task) []error {
				sizes = append(sizes, len(tasks))
				return make([]error, len(tasks))
			}}
			for range 5 {
				s.add(&task{work: work{batch: b}}, nil)
			}
			s.run(t.Context(), tc.parallel)
			if !slices.Equal(sizes, tc.want) {
				t.Errorf("%v, want %v", sizes, tc.want)
			}
		})
	}
}

// A task that waits is done by its fallback at once, and one that has run is not run again.
func TestFallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it ends with an error if all tasks wait
		s := newSchedule()
		var mu sync.Mutex
		ran := map[string]int{}
		done := func(name string) {
			mu.Lock()
			defer mu.Unlock()
			ran[name]++
		}
		didFallbacks := make(chan struct{})
		add := func(name string, rank rank, run func(), needs ...*task) *task {
			return s.add(&task{work: work{rank: rank, run: func(context.Context) error {
				run()
				done(name)
				return nil
			}}, fallback: &work{rank: rankManifest, run: func(context.Context) error {
				done(name + ", by its fallback")
				didFallbacks <- struct{}{}
				return nil
			}}}, needs)
		}
		before := add("before", rankManifest, func() {})
		slow := add("slow", rankSource, func() {
			<-didFallbacks
			<-didFallbacks
		})
		waits := add("waits", rankMount, func() {}, slow)
		queued := add("queued", rankBlob, func() {}) // ready, while two others run
		withoutFallback := &task{}
		add("decides", rankMount, func() { s.useFallbacks([]*task{withoutFallback, before, waits, queued}) }, before)
		s.run(t.Context(), 2)
		want := map[string]int{"before": 1, "decides": 1, "slow": 1, "waits, by its fallback": 1, "queued, by its fallback": 1}
		if diff := cmp.Diff(want, ran); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEachDependentIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it ends with an error if all tasks wait
		s := newSchedule()
		var order []string
		add := func(name string, rank rank, needs ...*task) *task {
			return s.add(&task{work: work{rank: rank, run: func(context.Context) error {
				order = append(order, name)
				return nil
			}}}, needs)
		}
		first, second := add("first", rankManifest), add("second", rankBlob)
		add("needs both", rankMount, first, second)
		add("needs the first", rankMount, first)
		s.run(t.Context(), 1)
		if want := []string{"first", "needs the first", "second", "needs both"}; !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
	})
}

func TestATaskWhoseNeedFailedFails(t *testing.T) {
	s, failure := newSchedule(), errors.New("no")
	ran := map[string]bool{}
	named := func(name string, err error) *task {
		return &task{work: work{run: func(context.Context) error {
			ran[name] = true
			return err
		}}}
	}
	need := s.add(named("need", failure), nil)
	dependent := s.add(named("dependent", nil), []*task{need})
	last := s.add(named("last", nil), []*task{dependent})
	after := s.add(named("after", nil), nil, need)
	s.run(t.Context(), 1)
	if diff := cmp.Diff(map[string]bool{"need": true, "after": true}, ran); diff != "" {
		t.Error(diff)
	}
	if dependent.err != failure || last.err != failure || after.err != nil {
		t.Errorf("%v, %v, %v", dependent.err, last.err, after.err)
	}
}

// A user who ends a run is not told that the registry failed.
func TestATaskThatFailsAfterTheEnd(t *testing.T) {
	closed := errors.New("connection closed")
	for name, tc := range map[string]struct {
		isEnded          bool
		err              error
		canceled, closed bool
	}{
		"a fault at the end":     {true, closed, true, true},
		"the end":                {true, context.Canceled, true, false},
		"a fault before the end": {false, closed, false, true},
		"none":                   {true, nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			failed := &task{work: work{run: func(context.Context) error {
				if tc.isEnded {
					cancel()
				}
				return tc.err
			}}}
			s := newSchedule()
			s.add(failed, nil)
			s.run(ctx, 1)
			if err := failed.err; errors.Is(err, context.Canceled) != tc.canceled || errors.Is(err, closed) != tc.closed || tc.err == nil && err != nil {
				t.Errorf("error %v", err)
			}
		})
	}
}
