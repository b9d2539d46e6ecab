// SPDX-License-Identifier: Apache-2.0

// Package probe resolves host names, connects to them, and starts a TLS
// handshake, from the machine or pod where it runs.
//
// It only gathers facts. The reader of the report decides whether an address
// should be private and a certificate is trusted: the server's image, which runs
// this package in the cluster, has no root certificates. The package depends on
// neither AWS nor Kubernetes, which keeps the server's binary small.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Version is the version of the report format.
const Version = 1

// Target is a host name or an address, and a TCP port.
type Target struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// String returns HOST:PORT.
func (t Target) String() string {
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// Parse parses HOST:PORT. An IPv6 address must be in brackets.
func Parse(s string) (Target, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ ") {
		return Target{}, fmt.Errorf("%q: want HOST:PORT, such as api.cast.ai:443", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Target{}, fmt.Errorf("%q: want a port from 1 to 65535", s)
	}
	return Target{Host: host, Port: uint16(n)}, nil
}

// Fault is the class of an error. It is empty if the step succeeded.
type Fault string

// The faults, in the order of the steps.
const (
	NoSuchName     Fault = "no-such-name"    // NXDOMAIN, or a name without an address
	DNSTimeout     Fault = "dns-timeout"     // DNS did not answer
	DNSFailed      Fault = "dns-failed"      // another answer, such as SERVFAIL
	Refused        Fault = "refused"         // no process listens on the port
	ConnectTimeout Fault = "connect-timeout" // no response: a firewall, a security group, no route
	Unreachable    Fault = "unreachable"     // no route on this machine or a router
	ConnectFailed  Fault = "connect-failed"  // another error of TCP
	TLSAlert       Fault = "tls-alert"       // the server refused the handshake
	TLSTimeout     Fault = "tls-timeout"     // the server sent nothing
	NotTLS         Fault = "not-tls"         // the answer is not TLS
	TLSFailed      Fault = "tls-failed"      // another error of the handshake, such as a closed connection
)

// Step is the result of one step.
type Step struct {
	Fault   Fault   `json:"fault,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

// Dial is an attempt to connect to one address.
type Dial struct {
	Address netip.Addr `json:"address"`
	Step
}

// Handshake is the TLS handshake with the first address that accepted a connection.
type Handshake struct {
	Address  netip.Addr `json:"address"`
	Protocol string     `json:"protocol,omitempty"` // such as "TLS 1.3"
	// Chain is the certificate chain in DER, the server's own certificate first.
	// It is not verified.
	Chain [][]byte `json:"chain,omitempty"`
	Step
}

// Result is the result for one target.
type Result struct {
	Target
	DNS Step `json:"dns"`
	// Addresses are all addresses of the name, in the order of the resolver.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Dials has one entry for each address. An interface endpoint has one address
	// for each zone.
	Dials []Dial `json:"dials,omitempty"`
	// TLS is nil if no address accepted a connection.
	TLS *Handshake `json:"tls,omitempty"`
}

// Connected reports whether an address accepted a connection.
func (r Result) Connected() bool { return r.TLS != nil }

// Prober configures how targets are probed. The zero value probes as any program
// on this machine would connect.
type Prober struct {
	Resolver *net.Resolver // default net.DefaultResolver
	// Dial connects to ADDRESS:PORT over TCP. Default net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Time limits of the steps. The defaults are 3, 2 and 2 seconds, which
	// together are less than the default timeout of a check.
	DNS, Connect, TLS time.Duration
}

// Run probes targets concurrently with the default Prober.
func Run(ctx context.Context, targets []Target) []Result { return Prober{}.Run(ctx, targets) }

// Run probes targets concurrently. It returns one result for each target, in
// their order. Errors are part of the results.
func (p Prober) Run(ctx context.Context, targets []Target) []Result {
	p = p.withDefaults()
	results := make([]Result, len(targets))
	var group sync.WaitGroup
	for i, t := range targets {
		group.Go(func() { results[i] = p.probe(ctx, t) })
	}
	group.Wait()
	return results
}

func (p Prober) withDefaults() Prober {
	if p.Resolver == nil {
		p.Resolver = net.DefaultResolver
	}
	if p.Dial == nil {
		p.Dial = new(net.Dialer).DialContext
	}
	if p.DNS <= 0 {
		p.DNS = 3 * time.Second
	}
	if p.Connect <= 0 {
		p.Connect = 2 * time.Second
	}
	if p.TLS <= 0 {
		p.TLS = 2 * time.Second
	}
	return p
}

// report is the JSON document.
type report struct {
	Version int      `json:"version"`
	Results []Result `json:"results"`
}

// Encode returns the report as one line of JSON.
func Encode(results []Result) ([]byte, error) {
	b, err := json.Marshal(report{Version, results})
	return append(b, '\n'), err
}

// Decode parses the output of Encode.
func Decode(b []byte) ([]Result, error) {
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("not a report of privatelink-webhook probe: %w", err)
	}
	if r.Version != Version {
		return nil, fmt.Errorf("report of version %d, want %d: use the same release of privatelink and of the webhook", r.Version, Version)
	}
	if len(r.Results) == 0 {
		return nil, errors.New("the report has no results")
	}
	return r.Results, nil
}
