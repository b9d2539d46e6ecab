// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"slices"
	"sync"
	"time"
)

// slots limits how many bodies of a size class are in memory at once.
//
// The newest request is served first. Requests wait only if clients send more
// than the server takes, or hold their slots by sending slowly; then those that
// came first are the least likely to be answered in time anyway, and a review
// that arrives among them is not delayed by their number.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting []chan struct{} // newest last
}

func newSlots(n int) *slots { return &slots{free: n} }

// acquire waits for a slot, and reports whether it got one before the limit or the
// end of ctx. The caller must then release it.
func (s *slots) acquire(ctx context.Context, limit time.Duration) bool {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return true
	}
	granted := make(chan struct{})
	s.waiting = append(s.waiting, granted)
	s.mu.Unlock()

	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-granted:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, granted)
	if i < 0 {
		return true // granted meanwhile
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return false
}

// release frees a slot, or passes it on.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.waiting) - 1
	if last < 0 {
		s.free++
		return
	}
	close(s.waiting[last])
	s.waiting = s.waiting[:last]
}
