// SPDX-License-Identifier: Apache-2.0

package lag

import (
	"context"
	"net"
	"sync"
	"time"
)

// chunk is data with the time at which the client receives it.
type chunk struct {
	data []byte
	due  time.Time
}

// queue holds data in transit. It has no limit: otherwise the server would wait
// for the client, and the delay would grow.
type queue struct {
	mu     sync.Mutex
	chunks []chunk
	ended  bool
	more   chan struct{} // has a token after each change
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

// send sends each chunk to the client when it is due, in order, and then closes
// the write side.
func (q *queue) send(ctx context.Context, client *net.TCPConn) error {
	for {
		chunks, ended := q.take()
		for _, c := range chunks {
			if err := until(ctx, c.due); err != nil {
				return err
			}
			if _, err := client.Write(c.data); err != nil {
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

// until waits for a time, and returns early with an error if the context ends.
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
