// SPDX-License-Identifier: Apache-2.0

// Package probe looks at hosts from where it runs: does the name resolve, does
// the port answer, who speaks TLS there.
//
// It only gathers. Whether an address should be private or a certificate is
// trusted is judged by the one who reads the report: the server's image, which
// carries this package into the cluster, has no root certificates. It needs
// neither AWS nor Kubernetes, so the server's binary stays small.
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

// Version is that of the report's form.
const Version = 1

// Target is a host name or an address, and a TCP port.
type Target struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// String is HOST:PORT.
func (t Target) String() string {
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// Parse reads HOST:PORT. An IPv6 address stands in brackets.
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

// Fault is the class of an error. The empty one means that all went well.
type Fault string

// The faults, in the order in which they can happen.
const (
	NoSuchName     Fault = "no-such-name"    // DNS answered that there is no such name, or that it has no address
	DNSTimeout     Fault = "dns-timeout"     // DNS did not answer
	DNSFailed      Fault = "dns-failed"      // DNS answered with an error, such as SERVFAIL
	Refused        Fault = "refused"         // the host answered that nobody listens
	ConnectTimeout Fault = "connect-timeout" // nothing came back: a firewall, a security group, no route
	Unreachable    Fault = "unreachable"     // this machine or a router knows no way there
	ConnectFailed  Fault = "connect-failed"  // any other error of TCP
	TLSAlert       Fault = "tls-alert"       // the other side refused the handshake
	TLSTimeout     Fault = "tls-timeout"     // connected, and silent
	NotTLS         Fault = "not-tls"         // the answer is not TLS
	TLSFailed      Fault = "tls-failed"      // any other error of the handshake, such as a closed connection
)

// Step is how one step went.
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

// Handshake is TLS with the first address that could be connected to.
type Handshake struct {
	Address  netip.Addr `json:"address"`
	Protocol string     `json:"protocol,omitempty"` // such as "TLS 1.3"
	// Chain is what the server sent, DER, its own certificate first. Nothing
	// about it was verified.
	Chain [][]byte `json:"chain,omitempty"`
	Step
}

// Result is what was seen of a target.
type Result struct {
	Target
	DNS Step `json:"dns"`
	// Addresses are all that the name resolves to, in the resolver's order.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Dials has an entry for each address: of an interface endpoint, one for
	// each zone.
	Dials []Dial `json:"dials,omitempty"`
	// TLS is nil when nothing could be connected to.
	TLS *Handshake `json:"tls,omitempty"`
}

// Connected tells whether an address answered.
func (r Result) Connected() bool { return r.TLS != nil }

// Prober is how to look. The zero value looks as any program on this machine
// would.
type Prober struct {
	Resolver *net.Resolver // default net.DefaultResolver
	// Dial connects to ADDRESS:PORT over TCP. Default net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// How long DNS, TCP and TLS may take, each. Default 3, 2 and 2 seconds: all
	// of it fits the time that doctor gives a check.
	DNS, Connect, TLS time.Duration
}

// Look looks at targets side by side, from this machine. It has a result for
// each target, in their order; what fails is in the result.
func Look(ctx context.Context, targets []Target) []Result { return Prober{}.Look(ctx, targets) }

// Look is as the function Look.
func (p Prober) Look(ctx context.Context, targets []Target) []Result {
	p = p.withDefaults()
	results := make([]Result, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() { results[i] = p.look(ctx, t) })
	}
	all.Wait()
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

// Encode is the report as one line of JSON.
func Encode(results []Result) ([]byte, error) {
	b, err := json.Marshal(report{Version, results})
	return append(b, '\n'), err
}

// Decode reads what Encode wrote.
func Decode(b []byte) ([]Result, error) {
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("not a report of privatelink-webhook probe: %w", err)
	}
	if r.Version != Version {
		return nil, fmt.Errorf("report of version %d, want %d: use the command line of the webhook's release", r.Version, Version)
	}
	if len(r.Results) == 0 {
		return nil, errors.New("the report has no results")
	}
	return r.Results, nil
}
