// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"sync"
)

// Once caches a value that several checks need. Concurrent callers wait for the
// first one.
type Once[T any] struct {
	mu    sync.Mutex
	done  bool
	value T
	err   error
}

// Get returns the cached value and error, and calls resolve if there are none.
// A result that was cut short by the deadline of ctx is not cached.
func (o *Once[T]) Get(ctx context.Context, resolve func(context.Context) (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done {
		o.value, o.err = resolve(ctx)
		o.done = ctx.Err() == nil // the next caller may have a later deadline
	}
	return o.value, o.err
}
