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

func TestANetworkIsCoveredByWhatContainsAllOfIt(t *testing.T) {
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

// The other way to know it is to look at each address.
func TestCoveringAgreesWithLookingAtEachAddress(t *testing.T) {
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

func TestARuleIsOpenAtItsPorts(t *testing.T) {
	rule := func(protocol string, from, to *int32) types.IpPermission {
		return types.IpPermission{IpProtocol: &protocol, FromPort: from, ToPort: to, IpRanges: []types.IpRange{{CidrIp: aws.String("10.0.0.0/16")}}}
	}
	one := opening{prefixes: prefixes("10.0.0.0/16")}
	for name, c := range map[string]struct {
		rule types.IpPermission
		want opening
	}{
		"the port":                {rule("tcp", new(int32(443)), new(int32(443))), one},
		"a range with it":         {rule("tcp", new(int32(0)), new(int32(65535))), one},
		"all protocols":           {rule("-1", nil, nil), one},
		"all protocols with -1":   {rule("-1", new(int32(-1)), new(int32(-1))), one},
		"TCP by its number":       {rule("6", new(int32(443)), new(int32(443))), one},
		"another port":            {rule("tcp", new(int32(80)), new(int32(80))), opening{}},
		"a range below":           {rule("tcp", new(int32(0)), new(int32(442))), opening{}},
		"another protocol":        {rule("udp", new(int32(443)), new(int32(443))), opening{}},
		"a group":                 {types.IpPermission{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String("sg-1")}}}, opening{groups: []string{"sg-1"}}},
		"a list":                  {types.IpPermission{IpProtocol: aws.String("-1"), PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String("pl-1")}}}, one},
		"a list that is not read": {types.IpPermission{IpProtocol: aws.String("-1"), PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String("pl-2")}}}, opening{unread: []string{"pl-2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := open([]types.IpPermission{c.rule}, 443, func(id string) ([]netip.Prefix, bool) {
				if id == "pl-1" {
					return prefixes("10.0.0.0/16"), true
				}
				return nil, false
			})
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(opening{}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryNodeIsLetInByOneOfItsGroups(t *testing.T) {
	o := opening{groups: []string{"sg-1", "sg-2"}}
	for name, c := range map[string]struct {
		nodes [][]string
		want  bool
	}{
		"each by another":     {[][]string{{"sg-1", "sg-9"}, {"sg-2"}}, true},
		"one by none":         {[][]string{{"sg-1"}, {"sg-9"}}, false},
		"there are no nodes":  {nil, false},
		"one without a group": {[][]string{{}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := everyNode(c.nodes, o); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestAServiceIsKnownByItsNameInEveryPartition(t *testing.T) {
	for name, c := range map[string]struct {
		service        Service
		region, actual string
		want           bool
	}{
		"AWS":                              {Service{Name: "ecr.api"}, "us-east-1", "com.amazonaws.us-east-1.ecr.api", true},
		"China, as elsewhere":              {Service{Name: "s3"}, "cn-north-1", "com.amazonaws.cn-north-1.s3", true},
		"China, with a prefix of its own":  {Service{Name: "ecr.dkr"}, "cn-north-1", "cn.com.amazonaws.cn-north-1.ecr.dkr", true},
		"not another that begins with it":  {Service{Name: "eks"}, "us-east-1", "com.amazonaws.us-east-1.eks-auth", false},
		"not another that ends with it":    {Service{Name: "api"}, "us-east-1", "com.amazonaws.us-east-1.ecr.api", false},
		"not another region":               {Service{Name: "s3"}, "us-east-1", "com.amazonaws.us-east-2.s3", false},
		"by its full name":                 {Service{Name: "api", FullName: "com.amazonaws.vpce.us-east-1.vpce-svc-1"}, "us-east-1", "com.amazonaws.vpce.us-east-1.vpce-svc-1", true},
		"not by the short one beside that": {Service{Name: "api", FullName: "com.amazonaws.vpce.us-east-1.vpce-svc-1"}, "us-east-1", "com.amazonaws.us-east-1.api", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.service.names(c.region, c.actual); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}
