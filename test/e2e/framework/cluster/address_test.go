// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net"
	"slices"
	"strings"
	"testing"
)

func TestEndpointAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		in   []string
		want string // empty: an error that names a remedy
	}{
		"loopback is passed over":                   {[]string{"127.0.0.1/8", "10.0.0.5/24"}, "10.0.0.5"},
		"a spare address on loopback will do":       {[]string{"127.0.0.1/8", "192.0.2.1/32"}, "192.0.2.1"},
		"IPv4 is preferred to an earlier IPv6":      {[]string{"2001:db8::5/64", "10.0.0.5/24"}, "10.0.0.5"},
		"the first of several is taken":             {[]string{"10.0.0.5/24", "10.0.1.5/24"}, "10.0.0.5"},
		"IPv6 will do where there is nothing else":  {[]string{"127.0.0.1/8", "fe80::1/64", "fd00::5/64"}, "fd00::5"},
		"link-local addresses are passed over":      {[]string{"169.254.10.1/16", "fe80::1/64"}, ""},
		"a machine without any address has no hope": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var all []net.Addr
			for _, cidr := range tc.in {
				ip, n, err := net.ParseCIDR(cidr)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, &net.IPNet{IP: ip, Mask: n.Mask})
			}
			got, err := endpointAddress(all)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("endpointAddress(%v) = %q, %v, want %q", tc.in, got, err, tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), "ip address add") {
				t.Errorf("error %v names no remedy", err)
			}
		})
	}
}

func TestFreePortsAreDistinctAndStayFree(t *testing.T) {
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if got := slices.Compact(slices.Clone(ports)); len(got) != 20 {
		t.Errorf("%d distinct ports of 20: %v", len(got), ports)
	}
	if ports[0] < 15000 || ports[19] >= 30000 {
		t.Errorf("ports %v leave the range that no outgoing connection uses", ports)
	}
}
