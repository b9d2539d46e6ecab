// SPDX-License-Identifier: Apache-2.0

package lag

import (
	"context"
	"net"
	"sync"
	"time"
)

// chunk is something that was said, and when it is to be heard.
type chunk struct {
	text []byte
	due  time.Time
}

// queue holds what is under way. It has no limit: with one, the sender would wait
// for the receiver, and the delay would grow.
type queue struct {
	mu     sync.Mutex
	chunks []chunk
	ended  bool
	more   chan struct{} // holds a token after each change
}

func newQueue() *queue { return &queue{more: make(chan struct{}, 1)} }

func (q *queue) add(c chunk) {
	q.mu.Lock()
	q.chunks = append(q.chunks, c)
	q.mu.Unlock()
	q.wake()
}

func (q *queue) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default: // a token is there already
	}
}

// take empties the queue.
func (q *queue) take() (chunks []chunk, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	chunks, q.chunks = q.chunks, nil
	return chunks, q.ended
}

// tell passes on what is in the queue, in order and each when it is due, and in
// the end that there is no more.
func (q *queue) tell(ctx context.Context, client *net.TCPConn) error {
	for {
		chunks, ended := q.take()
		for _, c := range chunks {
			if err := until(ctx, c.due); err != nil {
				return err
			}
			if _, err := client.Write(c.text); err != nil {
				return err
			}
		}
		if ended && len(chunks) == 0 {
			return client.CloseWrite()
		}
		if len(chunks) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.more:
		}
	}
}

func until(ctx context.Context, due time.Time) error {
	wait := time.Until(due)
	if wait <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
