// SPDX-License-Identifier: Apache-2.0

package lag

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// connect returns both ends of a connection through a proxy.
func connect(t *testing.T) (p *Proxy, client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if p, err = Start(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port())))
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = c.Close(), s.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, c.(*net.TCPConn), s.(*net.TCPConn)
}

func send(t *testing.T, to io.Writer, text []byte) {
	t.Helper()
	if _, err := to.Write(text); err != nil {
		t.Fatal(err)
	}
}

// receive reads as much data as is wanted, and compares it.
func receive(t *testing.T, from io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(from, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ from those that were sent", len(want))
	}
}

// pass sends a text from one end to the other, and returns the time from before it was
// sent.
func pass(t *testing.T, from io.Writer, to io.Reader, text string) time.Duration {
	t.Helper()
	begin := time.Now()
	send(t, from, []byte(text))
	receive(t, to, []byte(text))
	return time.Since(begin)
}

// Delayed data arrives after lag and before tooLate, which leaves a machine time to stall. A
// test that data is not delayed tells it from data that is delayed by tooLate.
const (
	lag     = 300 * time.Millisecond
	tooLate = 10 * lag
)

func TestOnlyTheServersDataIsDelayed(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(tooLate)
	if took := pass(t, client, server, "request"); took >= tooLate {
		t.Errorf("the request took %s", took)
	}
	p.Delay(lag)
	if took := pass(t, server, client, "response"); took < lag*9/10 {
		t.Errorf("the response took %s, want %s", took, lag)
	}
}

// A hundred chunks would take half a minute if the delays added up.
func TestDelaysOfChunksDoNotAddUp(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(lag)
	if err := server.SetNoDelay(true); err != nil {
		t.Fatal(err)
	}
	const chunks = 100
	begin := time.Now()
	go func() {
		for i := range chunks {
			_, _ = server.Write([]byte{byte(i)})
			time.Sleep(time.Millisecond)
		}
	}()
	for i := range chunks {
		receive(t, client, []byte{byte(i)})
	}
	if took := time.Since(begin); took < lag || took > tooLate {
		t.Errorf("%d chunks took %s, want a little more than %s", chunks, took, lag)
	}
}

func TestDelayDoesNotDependOnSize(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(lag)
	data := make([]byte, 32<<20)
	_, _ = rand.Read(data)
	begin := time.Now()
	go func() {
		_, _ = server.Write(data)
		_ = server.CloseWrite()
	}()
	receive(t, client, data)
	if took := time.Since(begin); took < lag*9/10 || took > tooLate {
		t.Errorf("%d MiB took %s, want a little more than %s", len(data)>>20, took, lag)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the last byte: %d bytes, %v; want EOF", n, err)
	}
}

func TestDelayCanBeChanged(t *testing.T) {
	p, client, server := connect(t)
	for _, delay := range []time.Duration{0, tooLate, 0} {
		p.Delay(delay)
		took := pass(t, server, client, "word")
		if took < delay*9/10 || took > delay+tooLate*9/10 {
			t.Errorf("it took %s, want %s", took, delay)
		}
	}
	p.Delay(lag)
	send(t, server, []byte("first"))
	time.Sleep(lag / 10) // so that both are not one chunk
	p.Delay(0)
	send(t, server, []byte("second"))
	receive(t, client, []byte("firstsecond"))
}

func TestCloseIsForwarded(t *testing.T) {
	_, client, server := connect(t)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server reads %v, want EOF", err)
	}
	send(t, server, []byte("last data"))
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, client, []byte("last data"))
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v, want EOF", err)
	}
}

func TestBreakClosesConnections(t *testing.T) {
	p, client, server := connect(t)
	p.Break()
	for name, end := range map[string]*net.TCPConn{"client": client, "server": server} {
		if _, err := end.Read(make([]byte, 1)); err == nil {
			t.Errorf("the %s is still connected", name)
		}
	}
	another, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port())))
	if err != nil {
		t.Fatalf("a connection after Break: %v", err)
	}
	_ = another.Close()
}

func TestCloseWithDelayedData(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(time.Hour)
	send(t, server, []byte("never received"))
	begin := time.Now()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the client is still connected")
	}
}
