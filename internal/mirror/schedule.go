// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// task is one step of a run. Its state changes only like this:
//
//	waiting → ready → running → done
//
// A task that has a fallback becomes ready once more: from running, when its work
// returns errUseFallback, or from waiting or ready, by schedule.useFallbacks.
type task struct {
	work
	fallback *work // does not depend on other tasks
	// repository is the one in the target that the task writes to.
	repository string
	size       int64

	state         taskState
	needs         []*task // must succeed
	pending       int     // tasks that must end before this one is ready
	dependents    []*task // tasks for which this one is pending
	readyPosition int     // in the heap, while the task is ready
	err           error   // result, once the task is done
}

// work is what a task does: run, or its share of a batch.
type work struct {
	run   func(context.Context) error
	batch *batch
	rank  rank
}

type taskState int

const (
	waiting taskState = iota
	ready
	running
	done
)

// errUseFallback is returned by the work of a task that has to be done by its
// fallback instead.
var errUseFallback = errors.New("the task has to be done by its fallback")

// batch combines tasks that cost little more together than one of them alone.
// Those that are ready at the same time run together.
type batch struct {
	run   func(ctx context.Context, tasks []*task) []error // one error per task, in order
	limit int                                              // of tasks that run together
	ready []*task
}

// schedule runs tasks in the order of their dependencies. A task whose need has
// failed does not run and fails with the same error.
type schedule struct {
	mu         sync.Mutex
	changed    *sync.Cond
	ready      taskHeap
	unfinished int // tasks that are not done
	free       int // transfers that may start
}

func newSchedule() *schedule {
	s := &schedule{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// add adds a task that starts after all needs have succeeded and all others in
// after have ended.
func (s *schedule) add(t *task, needs []*task, after ...*task) *task {
	t.needs = needs
	for _, before := range slices.Concat(needs, after) {
		t.pending++
		before.dependents = append(before.dependents, t)
	}
	s.unfinished++
	if t.pending == 0 {
		s.makeReady(t)
	}
	return t
}

// run returns when all tasks are done. At most parallel of them run at a time.
func (s *schedule) run(ctx context.Context, parallel int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = parallel
	for s.unfinished > 0 {
		if s.free == 0 || s.ready.Len() == 0 {
			s.changed.Wait()
			continue
		}
		tasks := s.startNext()
		go func() {
			errs := runTasks(ctx, tasks)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.free += len(tasks)
			for i, t := range tasks {
				s.end(t, errs[i])
			}
			s.changed.Broadcast()
		}()
	}
}

// startNext marks the most urgent ready task, and ready tasks of the same batch, as
// running.
func (s *schedule) startNext() []*task {
	first := heap.Pop(&s.ready).(*task)
	first.state = running
	tasks := []*task{first}
	if b := first.batch; b != nil {
		for _, t := range b.ready {
			if t.state == ready && len(tasks) < min(b.limit, s.free) {
				heap.Remove(&s.ready, t.readyPosition)
				t.state = running
				tasks = append(tasks, t)
			}
		}
		b.ready = slices.DeleteFunc(b.ready, func(t *task) bool { return t.state != ready })
	}
	s.free -= len(tasks)
	return tasks
}

// runTasks runs one task, or several of one batch. An error after the end of ctx also is
// that of ctx: a connection that was closed at the same time looks like a fault of the
// registry.
func runTasks(ctx context.Context, tasks []*task) (errs []error) {
	first := tasks[0]
	switch {
	case ctx.Err() != nil:
		return slices.Repeat([]error{context.Cause(ctx)}, len(tasks))
	case first.batch != nil:
		errs = first.batch.run(ctx, tasks)
	default:
		errs = []error{first.run(ctx)}
	}
	for i, err := range errs {
		if err != nil && ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			errs[i] = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
	return errs
}

// useFallbacks makes those of the tasks ready by their fallbacks that have not
// started.
func (s *schedule) useFallbacks(tasks []*task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tasks {
		if t.fallback == nil || t.state > ready {
			continue
		}
		if t.state == ready {
			heap.Remove(&s.ready, t.readyPosition)
		}
		s.useFallback(t)
	}
	s.changed.Broadcast()
}

func (s *schedule) useFallback(t *task) {
	t.work, t.fallback = *t.fallback, nil
	s.makeReady(t)
}

func (s *schedule) makeReady(t *task) {
	t.state = ready
	heap.Push(&s.ready, t)
	if t.batch != nil {
		t.batch.ready = append(t.batch.ready, t)
	}
}

// end records the result of a task and updates the tasks that depend on it.
func (s *schedule) end(t *task, err error) {
	if errors.Is(err, errUseFallback) {
		s.useFallback(t)
		return
	}
	t.state, t.err = done, err
	s.unfinished--
	for _, d := range t.dependents {
		if d.state != waiting {
			continue // it uses its fallback
		}
		if d.pending--; d.pending > 0 {
			continue
		}
		if err := d.failedNeed(); err != nil {
			s.end(d, err)
		} else {
			s.makeReady(d)
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

// taskHeap has the most urgent task first: the one of the highest rank, and among
// equals the largest, so that no large transfer remains for the end.
type taskHeap []*task

func (h taskHeap) Len() int { return len(h) }
func (h taskHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[j].rank, h[i].rank), cmp.Compare(h[j].size, h[i].size)) < 0
}
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].readyPosition, h[j].readyPosition = i, j
}
func (h *taskHeap) Push(x any) {
	t := x.(*task)
	t.readyPosition = len(*h)
	*h = append(*h, t)
}
func (h *taskHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
