// SPDX-License-Identifier: Apache-2.0

// Package fakedns is a small real DNS server for tests: its records and its faults
// can be changed while it runs.
//
// It is no resolver. What it was not told of does not exist, so that a test
// cannot reach the Internet by mistake.
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

// Fault is a way to answer badly.
type Fault int

// The faults.
const (
	NoSuchName Fault = iota + 1 // NXDOMAIN
	ServFail                    // SERVFAIL
	Silent                      // no answer at all
)

// record is what is known of a name: addresses, or a fault.
type record struct {
	addresses []netip.Addr
	fault     Fault
}

// Server answers on UDP and TCP, on one port.
type Server struct {
	address string
	servers []*dns.Server

	mu      sync.Mutex
	records map[string]record
	all     Fault
}

// Start starts a server on an address such as 127.0.0.1:0. Close ends it.
func Start(address string) (*Server, error) {
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		return nil, errors.Join(err, udp.Close())
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

// Address is HOST:PORT.
func (s *Server) Address() string { return s.address }

// Close ends the server.
func (s *Server) Close() error {
	var errs []error
	for _, d := range s.servers {
		errs = append(errs, d.Shutdown())
	}
	return errors.Join(errs...)
}

// Resolver asks this server, whatever resolv.conf says.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.address)
	}}
}

// Answer makes a name resolve to addresses. Without any, the name exists and
// has none.
func (s *Server) Answer(name string, addresses ...netip.Addr) {
	s.set(name, record{addresses: addresses})
}

// Fail makes a name answer with a fault.
func (s *Server) Fail(name string, f Fault) { s.set(name, record{fault: f}) }

// FailAll makes every name answer with a fault; 0 ends that.
func (s *Server) FailAll(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = f
}

func (s *Server) set(name string, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[key(name)] = r
}

// find returns what is known of a name. The records are never changed in place.
func (s *Server) find(name string) record {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[key(name)]
	switch {
	case s.all != 0:
		return record{fault: s.all}
	case !ok:
		return record{fault: NoSuchName}
	}
	return r
}

func key(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// ServeDNS answers a question.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		return
	}
	question := q.Question[0]
	r := s.find(question.Name)
	answer := new(dns.Msg).SetReply(q)
	answer.Authoritative = true
	switch r.fault {
	case Silent:
		return
	case NoSuchName:
		answer.Rcode = dns.RcodeNameError
	case ServFail:
		answer.Rcode = dns.RcodeServerFailure
	}
	for _, a := range r.addresses {
		header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 1}
		switch {
		case a.Is4() && question.Qtype == dns.TypeA:
			answer.Answer = append(answer.Answer, &dns.A{Hdr: header, A: a.AsSlice()})
		case a.Is6() && question.Qtype == dns.TypeAAAA:
			answer.Answer = append(answer.Answer, &dns.AAAA{Hdr: header, AAAA: a.AsSlice()})
		}
	}
	_ = w.WriteMsg(answer) // the client that left asks again
}
