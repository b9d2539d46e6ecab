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

func say(t *testing.T, to io.Writer, text []byte) {
	t.Helper()
	if _, err := to.Write(text); err != nil {
		t.Fatal(err)
	}
}

// hear reads as much as was said, compares, and returns how long it took.
func hear(t *testing.T, from io.Reader, want []byte) time.Duration {
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

const late = 300 * time.Millisecond

func TestOnlyWhatTheServerSaysIsLate(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(late)
	say(t, client, []byte("question"))
	if took := hear(t, server, []byte("question")); took >= late {
		t.Errorf("the question took %s", took)
	}
	say(t, server, []byte("answer"))
	if took := hear(t, client, []byte("answer")); took < late*9/10 {
		t.Errorf("the answer took %s, want %s", took, late)
	}
}

// A hundred chunks one after the other would take half a minute if each waited
// for the one before.
func TestEachChunkIsLateByTheSame(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(late)
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
		hear(t, client, []byte{byte(i)})
	}
	if took := time.Since(begin); took < late || took > 10*late {
		t.Errorf("%d chunks took %s, want a little more than %s", chunks, took, late)
	}
}

func TestMuchIsNoLaterThanLittle(t *testing.T) {
	p, client, server := connect(t)
	p.Delay(late)
	much := make([]byte, 32<<20)
	_, _ = rand.Read(much)
	go func() {
		_, _ = server.Write(much)
		_ = server.CloseWrite()
	}()
	if took := hear(t, client, much); took < late*9/10 || took > 10*late {
		t.Errorf("%d MiB took %s, want a little more than %s", len(much)>>20, took, late)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d bytes, %v; want the end", n, err)
	}
}

func TestTheDelayCanBeSwitched(t *testing.T) {
	p, client, server := connect(t)
	for _, delay := range []time.Duration{0, late, 0} {
		p.Delay(delay)
		say(t, server, []byte("word"))
		took := hear(t, client, []byte("word"))
		if took < delay*9/10 || took > delay+late*9/10 {
			t.Errorf("it took %s, want %s", took, delay)
		}
	}
	p.Delay(late)
	say(t, server, []byte("first"))
	time.Sleep(late / 10) // else both may be one chunk
	p.Delay(0)
	say(t, server, []byte("second"))
	hear(t, client, []byte("firstsecond"))
}

func TestTheEndOfEitherSideReachesTheOther(t *testing.T) {
	_, client, server := connect(t)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the server reads %v, want the end", err)
	}
	say(t, server, []byte("last words"))
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	hear(t, client, []byte("last words"))
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
	say(t, server, []byte("never heard"))
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
