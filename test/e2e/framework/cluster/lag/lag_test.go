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

// connect returns both ends of a connection that leads through a proxy.
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

// hear reads as much as was said, compares, and returns how long it took.
func receive(t *testing.T, from io.Reader, want []byte) time.Duration {
	t.Helper()
	begin, got := time.Now(), make([]byte, len(want))
	if _, err := io.ReadFull(from, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived as others than they were", len(want))
	}
	return time.Since(begin)
}

const lag = 300 * time.Millisecond

func TestOnlyWhatTheServerSaysIsLate(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(lag)
	send(t, client, []byte("question"))
	if took := receive(t, server, []byte("question")); took >= lag {
		t.Errorf("the question took %s", took)
	}
	send(t, server, []byte("answer"))
	if took := receive(t, client, []byte("answer")); took < lag*9/10 {
		t.Errorf("the answer took %s, want %s", took, lag)
	}
}

// A hundred chunks one after the other would take half a minute if each waited
// for the one before.
func TestEachChunkIsLateByTheSame(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(lag)
	if err := server.SetNoDelay(true); err != nil {
		t.Fatal(err)
	}
	const chunks = 100
	go func() {
		for i := range chunks {
			_, _ = server.Write([]byte{byte(i)})
			time.Sleep(time.Millisecond)
		}
	}()
	begin := time.Now()
	for i := range chunks {
		receive(t, client, []byte{byte(i)})
	}
	if took := time.Since(begin); took < lag || took > 10*lag {
		t.Errorf("%d chunks took %s, want a little more than %s", chunks, took, lag)
	}
}

func TestMuchIsNoLaterThanLittle(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(lag)
	much := make([]byte, 32<<20)
	_, _ = rand.Read(much)
	go func() {
		_, _ = server.Write(much)
		_ = server.CloseWrite()
	}()
	if took := receive(t, client, much); took < lag*9/10 || took > 10*lag {
		t.Errorf("%d MiB took %s, want a little more than %s", len(much)>>20, took, lag)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d bytes, %v; want the end", n, err)
	}
}

func TestTheDelayCanBeSwitched(t *testing.T) {
	p, client, server := connect(t)
	for _, delay := range []time.Duration{0, lag, 0} {
		p.Delay(delay)
		send(t, server, []byte("word"))
		took := receive(t, client, []byte("word"))
		if took < delay*9/10 || took > delay+lag*9/10 {
			t.Errorf("it took %s, want %s", took, delay)
		}
	}
	p.Delay(lag)
	send(t, server, []byte("first"))
	time.Sleep(lag / 10) // else both may be one chunk
	p.Delay(0)
	send(t, server, []byte("second"))
	receive(t, client, []byte("firstsecond"))
}

func TestTheEndOfEitherSideReachesTheOther(t *testing.T) {
	_, client, server := connect(t)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server reads %v, want the end", err)
	}
	send(t, server, []byte("last words"))
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	receive(t, client, []byte("last words"))
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v, want the end", err)
	}
}

func TestABreakEndsTheConnectionsThatThereAre(t *testing.T) {
	p, client, server := connect(t)
	p.Break()
	for name, end := range map[string]*net.TCPConn{"client": client, "server": server} {
		if _, err := end.Read(make([]byte, 1)); err == nil {
			t.Errorf("the %s still hears", name)
		}
	}
	another, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port())))
	if err != nil {
		t.Fatalf("a connection after it: %v", err)
	}
	_ = another.Close()
}

func TestCloseEndsConnectionsThatAreLate(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(time.Hour)
	send(t, server, []byte("never heard"))
	begin := time.Now()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the client still hears")
	}
}
