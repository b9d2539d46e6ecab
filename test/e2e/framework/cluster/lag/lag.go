// SPDX-License-Identifier: Apache-2.0

// Package lag is a TCP proxy that delays what the server sends to its clients.
//
// Only that direction is delayed: what a client asks for happens at once, and it
// learns of it later, like one that watches. Everything is delayed by the same
// time, however much of it there is, since each chunk waits in a queue for a
// time of its own and none waits for the sleep of another.
package lag

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy leads connections to one server until Close.
type Proxy struct {
	target   string
	listener net.Listener
	delay    atomic.Int64

	all sync.WaitGroup

	mu     sync.Mutex
	ctx    context.Context // ends with Break and with Close
	cancel context.CancelFunc
}

// Start leads connections to target. Nothing is delayed yet.
func Start(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a proxy of %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: l}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.all.Go(p.accept)
	return p, nil
}

// Port is where it listens, on 127.0.0.1.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Delay delays all that the server says from now on. What it said before comes
// when it was due, and never after what it said later.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Break ends the connections that there are; new ones may come. Clients that
// size their windows by the round trip they measured at first, as those of gRPC
// do, need it when the delay grows: else the window they have lets so little
// through that all is much later than it should be.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel()
	p.ctx, p.cancel = context.WithCancel(context.Background())
}

// Close ends all connections and waits for their end. Calling it twice is
// harmless.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.all.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // by Close
		}
		p.mu.Lock()
		ctx := p.ctx
		p.mu.Unlock()
		p.all.Go(func() { p.serve(ctx, client.(*net.TCPConn)) })
	}
}

// serve leads one connection. The client notices
// out, as without a proxy.
func (p *Proxy) serve(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()

	said := newQueue()
	var all sync.WaitGroup
	all.Go(func() { // what the client says
		_, err := io.Copy(server, client)
		if err = errors.Join(err, server.CloseWrite()); err != nil {
			cancel()
		}
	})
	all.Go(func() { p.listen(server, said) })
	all.Go(func() {
		if err := said.tell(ctx, client); err != nil {
			cancel() // the connection is closed
		}
	})
	all.Wait()
}

// listen queues what the server says, until it says no more.
func (p *Proxy) listen(server io.Reader, said *queue) {
	defer said.end()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if n > 0 {
			said.add(chunk{append([]byte(nil), buffer[:n]...), time.Now().Add(time.Duration(p.delay.Load()))})
		}
		if err != nil {
			return
		}
	}
}
