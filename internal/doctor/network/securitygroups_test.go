// SPDX-License-Identifier: Apache-2.0

package network

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func prefixes(all ...string) (p []netip.Prefix) {
	for _, a := range all {
		p = append(p, netip.MustParsePrefix(a))
	}
	return p
}

func TestCovers(t *testing.T) {
	for name, c := range map[string]struct {
		by      []netip.Prefix
		network string
		want    bool
	}{
		"by itself":                      {prefixes("10.0.1.0/24"), "10.0.1.0/24", true},
		"by a larger one":                {prefixes("10.0.0.0/16"), "10.0.1.0/24", true},
		"by all addresses":               {prefixes("0.0.0.0/0"), "10.0.1.0/24", true},
		"by its two halves":              {prefixes("10.0.1.128/25", "10.0.1.0/25"), "10.0.1.0/24", true},
		"by parts of different sizes":    {prefixes("10.0.1.0/26", "10.0.1.64/26", "10.0.1.128/25"), "10.0.1.0/24", true},
		"not by one half":                {prefixes("10.0.1.0/25"), "10.0.1.0/24", false},
		"not by all but one address":     {prefixes("10.0.1.0/31", "10.0.1.2/32"), "10.0.1.0/30", false},
		"not by another one":             {prefixes("10.1.0.0/16"), "10.0.1.0/24", false},
		"not by one of IPv6":             {prefixes("::/0"), "10.0.1.0/24", false},
		"not by nothing":                 {nil, "10.0.1.0/24", false},
		"one address by itself":          {prefixes("10.0.1.7/32"), "10.0.1.7/32", true},
		"all addresses by its two parts": {prefixes("0.0.0.0/1", "128.0.0.0/1"), "0.0.0.0/0", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := covers(c.by, netip.MustParsePrefix(c.network)); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestCoversAgreesWithEachAddress(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		network := netip.MustParsePrefix("10.0.0.0/27")
		var by []netip.Prefix
		for range random.IntN(6) {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(40))})
			by = append(by, netip.PrefixFrom(addr, 27+random.IntN(6)).Masked())
		}
		want := true
		for a := network.Addr(); network.Contains(a); a = a.Next() {
			want = want && slices.ContainsFunc(by, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		if got := covers(by, network); got != want {
			t.Fatalf("%v by %v: %v", network, by, got)
		}
	}
}

func TestPeersOf(t *testing.T) {
	rule := func(protocol string, from, to *int32) types.IpPermission {
		return types.IpPermission{IpProtocol: &protocol, FromPort: from, ToPort: to, IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/16")}}}
	}
	one := peers{prefixes: prefixes("10.0.0.0/16")}
	for name, c := range map[string]struct {
		rule types.IpPermission
		want peers
	}{
		"the port":                {rule("tcp", new(int32(443)), new(int32(443))), one},
		"a range with it":         {rule("tcp", new(int32(0)), new(int32(65535))), one},
		"all protocols":           {rule("-1", nil, nil), one},
		"all protocols with -1":   {rule("-1", new(int32(-1)), new(int32(-1))), one},
		"TCP by its number":       {rule("6", new(int32(443)), new(int32(443))), one},
		"another port":            {rule("tcp", new(int32(80)), new(int32(80))), peers{}},
		"a range below":           {rule("tcp", new(int32(0)), new(int32(442))), peers{}},
		"another protocol":        {rule("udp", new(int32(443)), new(int32(443))), peers{}},
		"a group":                 {types.IpPermission{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String("sg-1")}}}, peers{groups: []string{"sg-1"}}},
		"a list":                  {types.IpPermission{IpProtocol: aws.String("-1"), PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String("pl-1")}}}, one},
		"a list that is not read": {types.IpPermission{IpProtocol: aws.String("-1"), PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String("pl-2")}}}, peers{unreadable: []string{"pl-2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := peersOf([]types.IpPermission{c.rule}, 443, func(id string) ([]netip.Prefix, bool) {
				if id == "pl-1" {
					return prefixes("10.0.0.0/16"), true
				}
				return nil, false
			})
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(peers{}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPeersInclude(t *testing.T) {
	subnets := []subnet{{id: "subnet-1", cidr: netip.MustParsePrefix("10.0.1.0/24")}, {id: "subnet-2", cidr: netip.MustParsePrefix("10.0.2.0/24")}}
	for name, c := range map[string]struct {
		peers   peers
		groups  []string
		subnets []subnet
		want    bool
	}{
		"a group":                {peers{groups: []string{"sg-1"}}, []string{"sg-1", "sg-9"}, nil, true},
		"another group":          {peers{groups: []string{"sg-1"}}, []string{"sg-9"}, nil, false},
		"all subnets":            {peers{prefixes: prefixes("10.0.0.0/16")}, nil, subnets, true},
		"one of two subnets":     {peers{prefixes: prefixes("10.0.1.0/24")}, nil, subnets, false},
		"no subnet":              {peers{prefixes: prefixes("0.0.0.0/0")}, nil, nil, false},
		"a subnet without IPv4":  {peers{prefixes: prefixes("0.0.0.0/0")}, nil, []subnet{{id: "subnet-3"}}, false},
		"a group, and no subnet": {peers{groups: []string{"sg-1"}}, []string{"sg-1"}, subnets, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.peers.include(c.groups, c.subnets, ipv4); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestPeersIncludeAll(t *testing.T) {
	p := peers{groups: []string{"sg-1", "sg-2"}}
	for name, c := range map[string]struct {
		interfaces [][]string
		want       bool
	}{
		"each by another group": {[][]string{{"sg-1", "sg-9"}, {"sg-2"}}, true},
		"one by none":           {[][]string{{"sg-1"}, {"sg-9"}}, false},
		"no interfaces":         {nil, false},
		"one without a group":   {[][]string{{}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.includeAll(c.interfaces); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}
