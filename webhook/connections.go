// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections tracks the connections of a server and limits their number.
//
// A new connection is never refused. Above the limit, the one is closed that has
// been in its state for the longest time: a review takes milliseconds, so that this
// is one of a client that sends slowly, or does not send at all. Idle connections,
// which the API server would open again, go first. Others stay for the time of
// minStay, while the kernel's queue holds those that are new. Above max connections
// in each minStay the queue grows, and clients time out.
type connections struct {
	max     int
	minStay time.Duration

	mu   sync.Mutex
	open map[net.Conn]connState
}

type connState struct {
	http.ConnState
	since time.Time
}

func newConnections(limit int, minStay time.Duration) *connections {
	return &connections{max: limit, minStay: minStay, open: map[net.Conn]connState{}}
}

// changed is the hook http.Server.ConnState. For a new connection, the server
// accepts no other until it returns.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	for state == http.StateNew && !c.hasRoom() {
		time.Sleep(c.minStay / 25)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(c.open, conn)
		return
	}
	c.open[conn] = connState{state, time.Now()}
}

// hasRoom reports whether there is room for one more connection, after it has
// closed one if that is necessary and possible.
func (c *connections) hasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) < c.max {
		return true
	}
	var victim net.Conn
	var oldest connState
	for conn, s := range c.open {
		if victim == nil || s.before(oldest) {
			victim, oldest = conn, s
		}
	}
	if oldest.ConnState != http.StateIdle && time.Since(oldest.since) < c.minStay {
		return false
	}
	delete(c.open, victim)
	if t, ok := victim.(*tls.Conn); ok {
		victim = t.NetConn() // not its Close, which may wait for the client
	}
	_ = victim.Close()
	return true
}

func (s connState) before(other connState) bool {
	if idle := s.ConnState == http.StateIdle; idle != (other.ConnState == http.StateIdle) {
		return idle
	}
	return s.since.Before(other.since)
}

// waitForActive returns when no request is in progress, or after the limit, with
// the number of connections on which one still is.
func (c *connections) waitForActive(limit time.Duration) int {
	end := time.Now().Add(limit)
	for {
		n := c.active()
		if n == 0 || !time.Now().Before(end) {
			return n
		}
		time.Sleep(min(10*time.Millisecond, limit))
	}
}

func (c *connections) active() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.open {
		if s.ConnState == http.StateActive {
			n++
		}
	}
	return n
}
