// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/doctor/probe"
	"github.com/castai/privatelink-webhook/internal/testutil/fakedns"
)

func TestParse(t *testing.T) {
	for _, s := range []string{"api.cast.ai:443", "10.0.0.1:8443", "[fd00:ec2::1]:443"} {
		if target, err := probe.Parse(s); err != nil || target.String() != s {
			t.Errorf("%s: %v, %v", s, target, err)
		}
	}
	for _, s := range []string{"", "api.cast.ai", ":443", "api.cast.ai:", "api.cast.ai:0", "api.cast.ai:-1", "api.cast.ai:https", "fd00::1:443", "https://api.cast.ai:443", "a b:1"} {
		if target, err := probe.Parse(s); err == nil {
			t.Errorf("%q is parsed as %v", s, target)
		}
	}
}

func TestDecodeRefusesOtherReports(t *testing.T) {
	for text, want := range map[string]string{
		`{"version":2,"results":[{}]}`: "version 2, want 1",
		`{"version":1,"results":[]}`:   "no results",
		`{}`:                           "version 0",
		`unknown command`:              "not a report",
	} {
		if _, err := probe.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v, want %q", text, err, want)
		}
	}
}

// outcome is a result without durations.
type outcome struct {
	DNS       probe.Fault
	Addresses []string
	Dials     []probe.Fault
	TLS       probe.Fault
}

func TestFaultsAreClassified(t *testing.T) {
	names, err := fakedns.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	address := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	names.Fail("fails.test", fakedns.ServFail)
	names.Fail("silent.test", fakedns.Silent)
	names.Answer("empty.test")
	names.Answer("refuses.test", address("10.0.0.1"))
	names.Answer("drops.test", address("10.0.0.2"), address("fd00::2"))
	names.Answer("unresponsive.test", address("10.0.0.3"))
	names.Answer("six.test", address("fd00::4"))
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts connections, and no process answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p := probe.Prober{Resolver: names.Resolver(), DNS: time.Second, Connect: time.Second, TLS: time.Second,
		Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
			switch to {
			case "10.0.0.1:443":
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			case "10.0.0.2:443":
				<-ctx.Done()
				return nil, ctx.Err()
			case "10.0.0.3:443":
				return new(net.Dialer).DialContext(ctx, network, silent.Addr().String())
			case "[fd00::2]:443", "[fd00::4]:443":
				return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
			}
			return nil, errors.New("dialed " + to)
		}}
	want := map[string]outcome{
		"nowhere.test":      {DNS: probe.NoSuchName},
		"empty.test":        {DNS: probe.NoSuchName},
		"fails.test":        {DNS: probe.DNSFailed},
		"silent.test":       {DNS: probe.DNSTimeout},
		"refuses.test":      {Addresses: []string{"10.0.0.1"}, Dials: []probe.Fault{probe.Refused}},
		"drops.test":        {Addresses: []string{"10.0.0.2", "fd00::2"}, Dials: []probe.Fault{probe.ConnectTimeout, probe.Unreachable}},
		"unresponsive.test": {Addresses: []string{"10.0.0.3"}, Dials: []probe.Fault{""}, TLS: probe.TLSTimeout},
		"six.test":          {Addresses: []string{"fd00::4"}, Dials: []probe.Fault{probe.Unreachable}},
	}
	var targets []probe.Target
	for host := range want {
		targets = append(targets, probe.Target{Host: host, Port: 443})
	}
	b, err := probe.Encode(p.Run(t.Context(), targets))
	if err != nil {
		t.Fatal(err)
	}
	results, err := probe.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]outcome{}
	for i, r := range results {
		if r.Target != targets[i] {
			t.Errorf("result %d is of %s, want %s", i, r.Target, targets[i])
		}
		s := outcome{DNS: r.DNS.Fault}
		for j, d := range r.Dials {
			s.Addresses, s.Dials = append(s.Addresses, r.Addresses[j].String()), append(s.Dials, d.Fault)
		}
		if r.TLS != nil {
			s.TLS = r.TLS.Fault
		}
		got[r.Host] = s
	}
	for _, s := range got { // the resolver may swap the two families
		if len(s.Addresses) == 2 && s.Addresses[0] > s.Addresses[1] {
			s.Addresses[0], s.Addresses[1], s.Dials[0], s.Dials[1] = s.Addresses[1], s.Addresses[0], s.Dials[1], s.Dials[0]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
