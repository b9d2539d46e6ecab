// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// attacker has connections to the webhook. That the webhook closes them is no
// error.
type attacker struct {
	*testing.T
	webhook *process

	mu    sync.Mutex
	conns []net.Conn
	busy  sync.WaitGroup // of attacks that go on until their connections close
}

// each runs f n times at once and returns when all have returned.
func (a *attacker) each(n int, f func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(f)
	}
	all.Wait()
}

// during runs f n times at once and does not wait.
func (a *attacker) during(n int, f func()) {
	for range n {
		a.busy.Go(f)
	}
}

// sustain runs f n times a second, for three seconds, and does not wait.
func (a *attacker) sustain(n int, f func()) {
	a.busy.Go(func() {
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for range 300 {
			<-pace.C
			a.during(n/100, f)
		}
	})
}

// close ends the attack.
func (a *attacker) close() {
	a.mu.Lock()
	for _, c := range a.conns {
		_ = c.Close()
	}
	a.mu.Unlock()
	a.busy.Wait()
}

func (a *attacker) dial(address string) net.Conn {
	c, err := net.Dial("tcp", address)
	if err != nil {
		a.Errorf("dial: %v", err)
		return nil
	}
	return a.keep(c)
}

// keep keeps a connection open until the attack ends.
func (a *attacker) keep(c net.Conn) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c != nil {
		a.conns = append(a.conns, c)
	}
	return c
}

// reviews returns a TLS connection to the port of the reviews; nil if the webhook
// has closed it.
func (a *attacker) reviews() net.Conn {
	c := a.dial(a.webhook.listen)
	if c == nil {
		return nil
	}
	client := tls.Client(c, a.webhook.tls)
	if err := client.HandshakeContext(a.Context()); err != nil {
		return nil
	}
	return client
}

func (a *attacker) metrics() net.Conn { return a.dial(a.webhook.metrics) }

func (a *attacker) send(c net.Conn, text string) {
	if c != nil {
		_, _ = io.WriteString(c, text)
	}
}

// exchange sends a request and reads the answer, if there is one.
func (a *attacker) exchange(c net.Conn, request string) {
	if c == nil {
		return
	}
	a.send(c, request)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}

// trickle sends the beginning of a request, and then 4 KiB a hundred times a second
// until the webhook closes the connection or the attack ends.
func (a *attacker) trickle(c net.Conn, begin string) {
	if c == nil {
		return
	}
	a.send(c, begin)
	a.busy.Go(func() {
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for range pace.C {
			if _, err := c.Write(make([]byte, 4<<10)); err != nil {
				return
			}
		}
	})
}

// flood sends header lines without end.
func (a *attacker) flood(c net.Conn) {
	if c == nil {
		return
	}
	a.send(c, "POST /mutate HTTP/1.1\r\nHost: x\r\n")
	line := strings.Repeat("x", 100) + ": " + strings.Repeat("y", 900) + "\r\n"
	for range 200 {
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}
