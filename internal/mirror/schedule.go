// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"sync"
)

// task is one step of a run. It starts when those before it have ended.
type task struct {
	// run does it. A task of a batch is done by the batch instead.
	run   func(context.Context) error
	batch *batch
	// repository of the target that it writes to.
	repository string
	// instead makes of it another task that waits for no one.
	instead func()
	// rank is how urgent it is, the higher the sooner; size decides among equals,
	// the largest first, so that no large one is left alone at the end.
	rank int
	size int64

	waits int // for so many others
	needs []*task
	then  []*task // those that wait for this one
	state taskState
	place int // in the heap
	err   error
}

type taskState int

const (
	waiting taskState = iota
	ready
	running
	ended
)

// batch is a set of tasks of which several can be done at once for little more
// than the price of one. It does those that are ready together.
type batch struct {
	tasks []*task
	run   func(ctx context.Context, tasks []*task) []error // an error each, in their order
	most  int
}

// schedule runs tasks. A task of which one that it needs has failed is not run,
// and fails with the same error.
type schedule struct {
	mu    sync.Mutex
	moved *sync.Cond
	heap  tasks
	open  int // tasks that have not ended
	free  int // transfers that may still start
}

func newSchedule() *schedule {
	s := &schedule{}
	s.moved = sync.NewCond(&s.mu)
	return s
}

// add takes a task in. It needs the first to succeed and the second only to end.
func (s *schedule) add(t *task, needs []*task, after ...*task) *task {
	t.needs = needs
	for _, before := range append(append([]*task{}, needs...), after...) {
		t.waits++
		before.then = append(before.then, t)
	}
	if t.batch != nil {
		t.batch.tasks = append(t.batch.tasks, t)
	}
	s.open++
	if t.waits == 0 {
		s.enqueue(t)
	}
	return t
}

func (s *schedule) enqueue(t *task) {
	t.state = ready
	heap.Push(&s.heap, t)
}

// release lets the tasks start that wait for others, as what they are to be
// instead.
func (s *schedule) release(all []*task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range all {
		if t.batch != nil || t.state > ready {
			continue // it is that already
		}
		if t.state == ready {
			heap.Remove(&s.heap, t.place)
		}
		t.instead()
		s.enqueue(t)
	}
	s.moved.Broadcast()
}

// run returns when every task has ended. No more than parallel run at a time.
func (s *schedule) run(ctx context.Context, parallel int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = parallel
	for s.open > 0 {
		if s.free == 0 || s.heap.Len() == 0 {
			s.moved.Wait()
			continue
		}
		t := heap.Pop(&s.heap).(*task)
		together := []*task{t}
		if t.batch != nil {
			for _, other := range t.batch.tasks {
				if other.state == ready && other != t && other.batch != nil && len(together) < min(t.batch.most, s.free) {
					heap.Remove(&s.heap, other.place)
					together = append(together, other)
				}
			}
		}
		for _, t := range together {
			t.state = running
		}
		s.free -= len(together)
		go s.do(ctx, t, together)
	}
}

func (s *schedule) do(ctx context.Context, first *task, together []*task) {
	errs := make([]error, len(together))
	switch {
	case ctx.Err() != nil:
		for i := range errs {
			errs[i] = context.Cause(ctx)
		}
	case first.batch != nil:
		errs = first.batch.run(ctx, together)
	default:
		errs[0] = first.run(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += len(together)
	for i, t := range together {
		s.end(t, errs[i])
	}
	s.moved.Broadcast()
}

// again is what a task returns to be run once more, as what it is instead.
type again struct{ become func() }

func (again) Error() string { return "to be done in another way" }

func (s *schedule) end(t *task, err error) {
	var a again
	if errors.As(err, &a) {
		a.become()
		s.enqueue(t)
		return
	}
	t.state, t.err = ended, err
	s.open--
	for _, next := range t.then {
		if next.state != waiting {
			continue // released
		}
		if next.waits--; next.waits > 0 {
			continue
		}
		if failed := next.failedNeed(); failed != nil {
			s.end(next, failed)
		} else {
			s.enqueue(next)
		}
	}
}

func (t *task) failedNeed() error {
	for _, n := range t.needs {
		if n.err != nil {
			return n.err
		}
	}
	return nil
}

// tasks is a heap, the most urgent first.
type tasks []*task

func (h tasks) Len() int { return len(h) }
func (h tasks) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[j].rank, h[i].rank), cmp.Compare(h[j].size, h[i].size)) < 0
}
func (h tasks) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *tasks) Push(x any) {
	t := x.(*task)
	t.place = len(*h)
	*h = append(*h, t)
}
func (h *tasks) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
