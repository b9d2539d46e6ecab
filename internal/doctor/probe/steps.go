// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// probe runs the three steps for one target.
func (p Prober) probe(ctx context.Context, t Target) Result {
	r := Result{Target: t}
	r.Addresses, r.DNS = p.resolve(ctx, t.Host)
	if r.DNS.Fault != "" {
		return r
	}
	conns := make([]net.Conn, len(r.Addresses))
	r.Dials = make([]Dial, len(r.Addresses))
	var group sync.WaitGroup
	for i, a := range r.Addresses {
		group.Go(func() {
			r.Dials[i].Address = a
			conns[i], r.Dials[i].Step = p.connect(ctx, a, t.Port)
		})
	}
	group.Wait()
	for i, conn := range conns {
		if conn == nil {
			continue
		}
		if r.TLS == nil {
			h := p.handshake(ctx, conn, t.Host)
			h.Address = r.Addresses[i]
			r.TLS = &h
		}
		conn.Close() // no data was written, so the error does not matter
	}
	return r
}

// step runs f with a time limit, and classifies its error.
func step(ctx context.Context, limit time.Duration, f func(context.Context) error, classify func(error) Fault) Step {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begin := time.Now()
	err := f(ctx)
	s := Step{Seconds: time.Since(begin).Seconds()}
	if err != nil {
		s.Fault, s.Error = classify(err), err.Error()
	}
	return s
}

// resolve uses the search list of resolv.conf, as programs do.
func (p Prober) resolve(ctx context.Context, host string) (addresses []netip.Addr, _ Step) {
	s := step(ctx, p.DNS, func(ctx context.Context) error {
		found, err := p.Resolver.LookupNetIP(ctx, "ip", host)
		for _, a := range found {
			addresses = append(addresses, a.Unmap())
		}
		return err
	}, dnsFault)
	return addresses, s
}

func (p Prober) connect(ctx context.Context, a netip.Addr, port uint16) (conn net.Conn, _ Step) {
	s := step(ctx, p.Connect, func(ctx context.Context) (err error) {
		conn, err = p.Dial(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(port))))
		return err
	}, tcpFault)
	return conn, s
}

func (p Prober) handshake(ctx context.Context, conn net.Conn, host string) (h Handshake) {
	h.Step = step(ctx, p.TLS, func(ctx context.Context) error {
		// Only the handshake is sent. The reader of the report, which has root
		// certificates, verifies the chain.
		c := tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		err := c.HandshakeContext(ctx)
		state := c.ConnectionState()
		for _, cert := range state.PeerCertificates {
			h.Chain = append(h.Chain, cert.Raw)
		}
		if err == nil {
			h.Protocol = tls.VersionName(state.Version)
		}
		return err
	}, tlsFault)
	return h
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && ne.Timeout()
}

func dnsFault(err error) Fault {
	e, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && e.IsNotFound:
		return NoSuchName
	case isTimeout(err):
		return DNSTimeout
	}
	return DNSFailed
}

func tcpFault(err error) Fault {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if f, known := socketFault(runtime.GOOS, errno); known {
			return f
		}
	}
	if isTimeout(err) {
		return ConnectTimeout
	}
	return ConnectFailed
}

// socketFault returns the fault of a connection that a system call could not open. On
// Windows, sockets fail with codes that differ from the constants of package syscall.
// https://learn.microsoft.com/en-us/windows/win32/winsock/windows-sockets-error-codes-2
func socketFault(goos string, errno syscall.Errno) (f Fault, known bool) {
	switch errno {
	case syscall.ECONNREFUSED:
		return Refused, true
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL:
		return Unreachable, true
	case 10061:
		return Refused, goos == "windows"
	case 10049, 10051, 10065: // no such address, network unreachable, host unreachable
		return Unreachable, goos == "windows"
	}
	return "", false
}

func tlsFault(err error) Fault {
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return TLSAlert
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return NotTLS
	}
	// crypto/tls wraps an alert of the server in a net.OpError "remote error".
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return TLSAlert
	}
	if isTimeout(err) && !errors.Is(err, io.EOF) {
		return TLSTimeout
	}
	return TLSFailed
}
