// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// tracked is a connection that knows whether it was closed.
type tracked struct {
	net.Conn
	closed bool
}

func (c *tracked) Close() error {
	c.closed = true
	return nil
}

func TestTheOldestConnectionMakesRoom(t *testing.T) {
	const n, a, i = http.StateNew, http.StateActive, http.StateIdle
	for name, tc := range map[string]struct {
		states []http.ConnState // a second apart; the last one is beyond the limit
		closed int              // -1: none
	}{
		"within the limit all stay":                   {[]http.ConnState{n, a, i}, -1},
		"the oldest that says nothing":                {[]http.ConnState{n, n, n, n}, 0},
		"the oldest that sends":                       {[]http.ConnState{a, n, a, n}, 0},
		"an idle one before any other":                {[]http.ConnState{n, a, i, n}, 2},
		"the one that has been idle for longest":      {[]http.ConnState{n, i, i, n}, 1},
		"not one that was closed by the client":       {[]http.ConnState{http.StateClosed, n, n, n}, -1},
		"not one that another protocol has taken off": {[]http.ConnState{http.StateHijacked, n, n, n}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newConnections(3, time.Millisecond)
				var conns []*tracked
				for _, state := range tc.states {
					conn := &tracked{}
					conns = append(conns, conn)
					c.changed(conn, http.StateNew)
					if state != http.StateNew {
						c.changed(conn, state)
					}
					time.Sleep(time.Second)
				}
				for i, conn := range conns {
					if conn.closed != (i == tc.closed) {
						t.Errorf("connection %d: closed is %v", i, conn.closed)
					}
				}
				if len(c.open) > 3 {
					t.Errorf("%d connections are tracked", len(c.open))
				}
			})
		})
	}
}

func TestABurstOfConnectionsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minStay = 100 * time.Millisecond
		c, start := newConnections(2, minStay), time.Now()
		first, second, third, fourth := &tracked{}, &tracked{}, &tracked{}, &tracked{}
		c.changed(first, http.StateNew)
		time.Sleep(minStay / 25)
		c.changed(second, http.StateNew)
		c.changed(third, http.StateNew)
		if waited := time.Since(start); waited != minStay || !first.closed || second.closed {
			t.Errorf("after %v the first is closed: %v, the second: %v", waited, first.closed, second.closed)
		}
		c.changed(second, http.StateActive)
		c.changed(third, http.StateActive)
		time.AfterFunc(minStay/2, func() { c.changed(third, http.StateClosed) })
		start = time.Now()
		c.changed(fourth, http.StateNew)
		if waited := time.Since(start); waited < minStay/2 || waited > minStay || second.closed || third.closed {
			t.Errorf("after %v the second is closed: %v", waited, second.closed)
		}
	})
}

func TestAReviewIsAnsweredAmongConnectionsThatSayNothing(t *testing.T) {
	cert, roots := identity(t)
	synctest.Test(t, func(t *testing.T) {
		r := run(t, cert, roots, nil)
		r.mustAsk(t, false)
		for i := range 2 * maxReviews {
			c, err := r.reviews.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if i%2 == 0 {
				client := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "example.com"})
				if err := client.HandshakeContext(t.Context()); err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(client, "POST /mutate HTTP/1.1\r\n")
			}
		}
		synctest.Wait()
		if n := len(r.connections.open); n > maxReviews {
			t.Errorf("%d connections are open, want at most %d", n, maxReviews)
		}
		r.client.CloseIdleConnections() // as the first one is closed by the server, too
		r.mustAsk(t, false)
	})
}
