// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"sync"
)

// Once remembers an answer that several checks want. Who asks at the same time
// waits for it. One that failed for want of time is asked for again.
type Once[T any] struct {
	mu    sync.Mutex
	asked bool
	value T
	err   error
}

// Get returns the answer, and asks if nobody did yet.
func (o *Once[T]) Get(ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.asked {
		o.value, o.err = ask(ctx)
		o.asked = ctx.Err() == nil // another one may have more time
	}
	return o.value, o.err
}
