// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is a TCP proxy that is as slow as a way to another data center: what is
// sent arrives later, and each connection carries so much a second each way.
type link struct {
	net.Listener
	to    string
	delay time.Duration // one way
	rate  float64       // bytes a second, 0 for no limit
}

// listenLink leads an address of this machine to a server.
func listenLink(address, to string, roundTrip time.Duration, rate float64) (*link, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, err
	}
	k := &link{l, to, roundTrip / 2, rate}
	go k.serve()
	return k, nil
}

func (k *link) serve() {
	for {
		client, err := k.Accept()
		if err != nil {
			return // closed
		}
		go k.lead(client.(*net.TCPConn))
	}
}

func (k *link) lead(client *net.TCPConn) {
	defer client.Close()
	time.Sleep(2 * k.delay) // the handshake
	c, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { k.carry(server, client) })
	both.Go(func() { k.carry(client, server) })
	both.Wait()
}

// parcel is something on the way, and when it arrives.
type parcel struct {
	buffer *buffer
	size   int
	due    time.Time
}

type buffer [64 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// carry takes one direction. What is on the way waits in a queue, so that delay
// costs no bandwidth.
func (k *link) carry(to, from *net.TCPConn) {
	onTheWay := make(chan parcel, 64)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for p := range onTheWay {
			time.Sleep(time.Until(p.due))
			_, err := to.Write(p.buffer[:p.size])
			buffers.Put(p.buffer)
			if err != nil {
				_ = from.CloseRead()
				for range onTheWay {
				}
				return
			}
		}
		_ = to.CloseWrite()
	}()
	var sent time.Time // when the last byte so far has left
	for {
		b := buffers.Get().(*buffer)
		n, err := from.Read(b[:])
		if n > 0 {
			now := time.Now()
			if sent.Before(now) {
				sent = now
			}
			if k.rate > 0 {
				sent = sent.Add(time.Duration(float64(n) / k.rate * float64(time.Second)))
			}
			onTheWay <- parcel{b, n, sent.Add(k.delay)}
			time.Sleep(time.Until(sent.Add(-5 * time.Millisecond))) // so far ahead a socket buffer may be
		}
		if err != nil {
			break
		}
	}
	close(onTheWay)
	<-ctx.Done()
}
