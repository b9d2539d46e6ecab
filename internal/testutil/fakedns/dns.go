// SPDX-License-Identifier: Apache-2.0

// Package fakedns is a DNS server for tests, whose records and faults can be changed
// while it runs. It does not forward queries: names without a record do not exist,
// so a test cannot reach the internet by mistake.
package fakedns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Fault is a failure of a query.
type Fault int

// The faults.
const (
	NoSuchName Fault = iota + 1 // NXDOMAIN
	ServFail                    // SERVFAIL
	Silent                      // no response
)

// record has the addresses of a name, or a fault.
type record struct {
	addresses []netip.Addr
	fault     Fault
}

// Server is a DNS server on UDP and TCP. It is safe for concurrent use.
type Server struct {
	address string
	servers []*dns.Server

	mu      sync.Mutex
	records map[string]record
	failAll Fault
}

// Start starts a server on an address such as 127.0.0.1:0. Close stops it.
func Start(address string) (*Server, error) {
	udp, tcp, err := listen(address)
	if err != nil {
		return nil, err
	}
	s := &Server{address: udp.LocalAddr().String(), records: map[string]record{}}
	for _, d := range []*dns.Server{{PacketConn: udp, Handler: s}, {Listener: tcp, Handler: s}} {
		started := make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		failed := make(chan error, 1)
		go func() { failed <- d.ActivateAndServe() }()
		select {
		case <-started:
			s.servers = append(s.servers, d)
		case err := <-failed:
			return nil, errors.Join(err, s.Close(), udp.Close(), tcp.Close())
		}
	}
	return s, nil
}

// listen opens a UDP and a TCP socket on the same port. With port 0, another
// process may use the TCP port that matches the UDP port, so it tries again with
// other ports.
func listen(address string) (net.PacketConn, net.Listener, error) {
	for attempt := 1; ; attempt++ {
		udp, err := net.ListenPacket("udp", address)
		if err != nil {
			return nil, nil, err
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp, nil
		}
		err = errors.Join(err, udp.Close())
		if !strings.HasSuffix(address, ":0") || attempt == 10 {
			return nil, nil, err
		}
	}
}

// Address returns HOST:PORT, the same for UDP and TCP.
func (s *Server) Address() string { return s.address }

// Close stops the server.
func (s *Server) Close() error {
	var errs []error
	for _, d := range s.servers {
		errs = append(errs, d.Shutdown())
	}
	return errors.Join(errs...)
}

// Resolver returns a resolver that queries this server instead of those in
// resolv.conf.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.address)
	}}
}

// Answer sets the addresses of a name. Without addresses, the name exists but has no
// records.
func (s *Server) Answer(name string, addresses ...netip.Addr) {
	s.set(name, record{addresses: addresses})
}

// Fail makes queries for a name fail.
func (s *Server) Fail(name string, f Fault) { s.set(name, record{fault: f}) }

// FailAll makes all queries fail; 0 restores the records.
func (s *Server) FailAll(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failAll = f
}

func (s *Server) set(name string, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[key(name)] = r
}

// find returns the record of a name.
func (s *Server) find(name string) record {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[key(name)]
	switch {
	case s.failAll != 0:
		return record{fault: s.failAll}
	case !ok:
		return record{fault: NoSuchName}
	}
	return r
}

func key(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// ServeDNS responds to a query.
func (s *Server) ServeDNS(w dns.ResponseWriter, msg *dns.Msg) {
	if len(msg.Question) != 1 {
		return
	}
	query := msg.Question[0]
	r := s.find(query.Name)
	reply := new(dns.Msg).SetReply(msg)
	reply.Authoritative = true
	switch r.fault {
	case Silent:
		return
	case NoSuchName:
		reply.Rcode = dns.RcodeNameError
	case ServFail:
		reply.Rcode = dns.RcodeServerFailure
	}
	for _, a := range r.addresses {
		header := dns.RR_Header{Name: query.Name, Rrtype: query.Qtype, Class: dns.ClassINET, Ttl: 1}
		switch {
		case a.Is4() && query.Qtype == dns.TypeA:
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: a.AsSlice()})
		case a.Is6() && query.Qtype == dns.TypeAAAA:
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header, AAAA: a.AsSlice()})
		}
	}
	_ = w.WriteMsg(reply) // a client that missed it queries again
}
