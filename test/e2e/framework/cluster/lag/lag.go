// SPDX-License-Identifier: Apache-2.0

// Package lag is a TCP proxy that delays what the server sends to its clients.
//
// Only that direction is delayed: requests take effect immediately, and clients
// see the result later, as with a slow watch. The delay does not depend on the
// amount of data, because each chunk has its own due time in a queue.
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

// Proxy forwards connections to one server until Close.
type Proxy struct {
	target   string
	listener net.Listener
	delay    atomic.Int64

	all sync.WaitGroup

	mu     sync.Mutex
	ctx    context.Context // ends with Break and with Close
	cancel context.CancelFunc
}

// Start forwards connections to target. Nothing is delayed yet.
func Start(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: l}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.all.Go(p.accept)
	return p, nil
}

// Port returns the port on 127.0.0.1 that the proxy listens on.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Delay sets the delay of data that the server sends from now on. The order of
// the data is kept.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Break closes the current connections; new ones are accepted. Call it when the
// delay grows: clients such as gRPC size their flow-control windows by the first
// measured round trip, and a small window would add to the delay.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel()
	p.ctx, p.cancel = context.WithCancel(context.Background())
}

// Close closes all connections and waits for their goroutines. It may be called
// twice.
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

// serve forwards one connection until both directions have ended.
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

	fromServer := newQueue()
	var all sync.WaitGroup
	all.Go(func() {
		_, err := io.Copy(server, client)
		if err = errors.Join(err, server.CloseWrite()); err != nil {
			cancel()
		}
	})
	all.Go(func() { p.receive(server, fromServer) })
	all.Go(func() {
		if err := fromServer.send(ctx, client); err != nil {
			cancel() // the connection is closed
		}
	})
	all.Wait()
}

// receive queues data of the server until it closes the connection.
func (p *Proxy) receive(server io.Reader, q *queue) {
	defer q.end()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if n > 0 {
			q.add(chunk{append([]byte(nil), buffer[:n]...), time.Now().Add(time.Duration(p.delay.Load()))})
		}
		if err != nil {
			return
		}
	}
}
