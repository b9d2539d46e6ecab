// SPDX-License-Identifier: Apache-2.0

package network

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// decide returns the number of the rule that denies one packet, or 0.
func decide(rules []aclRule, address netip.Addr, port int32) int32 {
	for _, r := range rules {
		if r.prefix.Contains(address) && r.from <= port && port <= r.to {
			if r.isAllow {
				return 0
			}
			return r.number
		}
	}
	return lastRule
}

func TestDenialAgreesWithEachPacket(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var rules []aclRule
		for i := range random.IntN(6) {
			from := random.Int32N(8)
			rules = append(rules, aclRule{
				number: int32(i + 1), isAllow: random.IntN(3) > 0, from: from, to: from + random.Int32N(6),
				prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(20))}), 27+random.IntN(6)).Masked(),
			})
		}
		p := packets{netip.MustParsePrefix("10.0.0.0/28"), 2, 6}
		var numbers []int32
		for a := p.prefix.Addr(); p.prefix.Contains(a); a = a.Next() {
			for port := p.from; port <= p.to; port++ {
				if n := decide(rules, a, port); n != 0 {
					numbers = append(numbers, n)
				}
			}
		}
		number, isDenied := denial(rules, p)
		if isDenied != (len(numbers) > 0) || isDenied && !slices.Contains(numbers, number) {
			t.Fatalf("%v: rule %d, %t; by packet %v", rules, number, isDenied, numbers)
		}
	}
}

func TestNewNetworkACL(t *testing.T) {
	entry := func(number int32, isOut bool, protocol, cidr string) types.NetworkAclEntry {
		e := types.NetworkAclEntry{RuleNumber: &number, Egress: &isOut, Protocol: &protocol, RuleAction: types.RuleActionAllow}
		if strings.Contains(cidr, ":") {
			e.Ipv6CidrBlock = &cidr
		} else {
			e.CidrBlock = &cidr
		}
		return e
	}
	web := entry(90, false, "6", "10.0.0.0/16")
	web.PortRange = &types.PortRange{From: aws.Int32(443), To: aws.Int32(443)}
	got := newNetworkACL(types.NetworkAcl{NetworkAclId: aws.String("acl-1"), Entries: []types.NetworkAclEntry{
		entry(101, false, "-1", "::/0"), entry(100, true, "-1", "0.0.0.0/0"), web, entry(80, false, "17", "0.0.0.0/0"),
	}})
	want := networkACL{
		id:  "acl-1",
		in:  []aclRule{{90, true, netip.MustParsePrefix("10.0.0.0/16"), 443, 443}, {101, true, netip.MustParsePrefix("::/0"), 0, 65535}},
		out: []aclRule{{100, true, netip.MustParsePrefix("0.0.0.0/0"), 0, 65535}},
	}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}

// Rules of one family do not apply to the other one.
func TestNetworkACLsByFamily(t *testing.T) {
	all := func(number int32, cidr string) aclRule {
		return aclRule{number, true, netip.MustParsePrefix(cidr), 0, 65535}
	}
	one := subnet{id: "subnet-1", cidr: netip.MustParsePrefix("10.0.1.0/24"), cidr6: netip.MustParsePrefix("2600:1f18:0:1::/64")}
	two := subnet{id: "subnet-2", cidr: netip.MustParsePrefix("10.0.2.0/24"), cidr6: netip.MustParsePrefix("2600:1f18:0:2::/64")}
	v := vpc{id: "vpc-1", blocks: prefixes("10.0.0.0/16", "2600:1f18::/56")}
	acl := networkACL{id: "acl-1", in: []aclRule{all(100, "0.0.0.0/0")}, out: []aclRule{all(100, "0.0.0.0/0")}}
	acls := map[string]networkACL{"subnet-1": acl, "subnet-2": acl}
	flows := func(f family) []flow {
		return []flow{{what: "the webhook", from: one, to: two, toPrefixes: []netip.Prefix{two.block(f)}, port: 9443, family: f}}
	}
	if f := reportNetworkACLs("us-east-1", v, acls, flows(ipv4)); f.Status != doctor.OK {
		t.Errorf("%+v", f)
	}
	f := reportNetworkACLs("us-east-1", v, acls, flows(ipv6))
	if f.Status != doctor.Failed || len(f.Details) != 4 || !strings.Contains(f.Remedy, "--egress --rule-number 32766 --protocol tcp --port-range From=9443,To=9443 --rule-action allow --ipv6-cidr-block 2600:1f18::/56") {
		t.Errorf("%+v", f)
	}
	acls["subnet-1"] = networkACL{id: "acl-2", in: []aclRule{{1, false, netip.MustParsePrefix("::/0"), 0, 65535}}, out: []aclRule{all(100, "::/0")}}
	if f := reportNetworkACLs("us-east-1", v, acls, flows(ipv6)); !strings.Contains(f.Remedy, "move rule 1 of acl-2 behind a rule that allows: --ingress --protocol tcp --port-range From=32768,To=60999") {
		t.Errorf("%+v", f)
	}
}

func TestNetworkACLThatIsNotSeen(t *testing.T) {
	responses := healthyVPC()
	responses["ec2:DescribeNetworkAcls"] = strings.Replace(responses["ec2:DescribeNetworkAcls"], "subnet-1", "subnet-9", 1)
	if r := runChecks(t, testConfig(t, responses))["network-acls"]; r.Status != doctor.Unknown || !strings.Contains(r.Found, "no network ACL of subnet-1") {
		t.Errorf("%s: %s", r.Status, r.Found)
	}
}
