// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// networkACL is a network ACL, with its rules for TCP in the order of their numbers.
// https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
type networkACL struct {
	id      string
	in, out []aclRule
}

type aclRule struct {
	number   int32
	isAllow  bool
	prefix   netip.Prefix
	from, to int32 // ports
}

// lastRule is the number of the rule that denies the rest. IPv6 has one more.
const lastRule = 32767

func newNetworkACL(a types.NetworkAcl) networkACL {
	n := networkACL{id: aws.ToString(a.NetworkAclId)}
	for _, e := range a.Entries {
		r := aclRule{number: aws.ToInt32(e.RuleNumber), isAllow: e.RuleAction == types.RuleActionAllow, to: 65535}
		prefix, err := netip.ParsePrefix(aws.ToString(e.CidrBlock) + aws.ToString(e.Ipv6CidrBlock))
		isTCP := aws.ToString(e.Protocol) == "6"
		if err != nil || !isTCP && aws.ToString(e.Protocol) != "-1" {
			continue
		}
		if r.prefix = prefix.Masked(); isTCP && e.PortRange != nil {
			r.from, r.to = aws.ToInt32(e.PortRange.From), aws.ToInt32(e.PortRange.To)
		}
		if aws.ToBool(e.Egress) {
			n.out = append(n.out, r)
		} else {
			n.in = append(n.in, r)
		}
	}
	byNumber := func(a, b aclRule) int { return cmp.Compare(a.number, b.number) }
	slices.SortStableFunc(n.in, byNumber)
	slices.SortStableFunc(n.out, byNumber)
	return n
}

// packets are those from or to all addresses of a prefix at all ports of a range.
type packets struct {
	prefix   netip.Prefix
	from, to int32
}

// denial returns the number of the first rule that denies some of the packets, and false
// if all are allowed. Each packet is decided by the first rule that applies to it.
func denial(rules []aclRule, p packets) (number int32, isDenied bool) {
	for i, r := range rules {
		if !r.prefix.Overlaps(p.prefix) || r.to < p.from || p.to < r.from {
			continue
		}
		parts := r.split(p)
		if len(parts) == 0 { // the rule applies to all
			return r.number, !r.isAllow
		}
		for _, part := range parts {
			if number, isDenied := denial(rules[i:], part); isDenied {
				return number, true
			}
		}
		return 0, false
	}
	return lastRule, true
}

// split divides packets of which the rule applies to some, and returns none if it
// applies to all.
func (r aclRule) split(p packets) []packets {
	switch {
	case p.from < r.from:
		return []packets{{p.prefix, p.from, r.from - 1}, {p.prefix, r.from, p.to}}
	case r.to < p.to:
		return []packets{{p.prefix, p.from, r.to}, {p.prefix, r.to + 1, p.to}}
	case r.prefix.Bits() > p.prefix.Bits():
		low, high := halves(p.prefix)
		return []packets{{low, p.from, p.to}, {high, p.from, p.to}}
	}
	return nil
}

// The ports that clients connect from: those of Linux.
// https://docs.kernel.org/networking/ip-sysctl.html
const firstClientPort, lastClientPort = 32768, 60999

// flow is a kind of connections between subnets, or from a subnet to other addresses.
type flow struct {
	what       string
	from       subnet
	to         subnet // without an ID if it is not in the VPC
	toPrefixes []netip.Prefix
	port       int32
	family     family
}

func (c *checker) checkNetworkACLs(ctx context.Context) doctor.Finding {
	acls, err := c.networkACLs(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	v, err := c.vpc(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	flows, err := c.flows(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	for _, f := range flows {
		if _, ok := acls[f.from.id]; !ok { // the owner of a shared VPC alone may see it
			return doctor.Unknownf("aws ec2 describe-network-acls --region "+c.region+" --filters Name=association.subnet-id,Values="+f.from.id, "EC2 returned no network ACL of %s", f.from.id)
		}
	}
	return reportNetworkACLs(c.region, v, acls, flows)
}

// networkACLs returns the network ACLs of the VPC by subnet.
func (c *checker) networkACLs(ctx context.Context) (map[string]networkACL, error) {
	filter, err := c.vpcFilter(ctx)
	if err != nil {
		return nil, err
	}
	pages := ec2.NewDescribeNetworkAclsPaginator(c.ec2, &ec2.DescribeNetworkAclsInput{Filters: filter})
	described, err := awsapi.Collect(ctx, "ec2:DescribeNetworkAcls", pages, func(p *ec2.DescribeNetworkAclsOutput) []types.NetworkAcl { return p.NetworkAcls })
	acls := map[string]networkACL{}
	for _, a := range described {
		for _, s := range a.Associations {
			acls[aws.ToString(s.SubnetId)] = newNetworkACL(a)
		}
	}
	return acls, err
}

// flows returns the connections that the cluster needs, except those within a subnet,
// which network ACLs do not see.
func (c *checker) flows(ctx context.Context) (flows []flow, err error) {
	clients, err := c.subnets(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.vpcSubnets(ctx)
	if err != nil {
		return nil, err
	}
	services, err := c.presentEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	var endpointSubnets []string
	for _, s := range services {
		for _, e := range s.active() {
			endpointSubnets = append(endpointSubnets, e.subnets...)
			if !e.isGateway {
				continue
			}
			_, prefixes, err := c.gatewayPrefixes(ctx, s.Name)
			if err != nil {
				return nil, err
			}
			for _, from := range clients {
				flows = append(flows, flow{what: s.Name, from: from, toPrefixes: prefixes, port: httpsPort})
			}
		}
	}
	connect := func(what string, from, to []subnet, port int32, family family) {
		for _, f := range from {
			for _, t := range to {
				if f.id != t.id && f.block(family).IsValid() && t.block(family).IsValid() {
					flows = append(flows, flow{what: what, from: f, to: t, toPrefixes: []netip.Prefix{t.block(family)}, port: port, family: family})
				}
			}
		}
	}
	connect("endpoints", clients, filter(all, func(s subnet) bool { return slices.Contains(endpointSubnets, s.id) }), httpsPort, ipv4)
	if c.Cluster == "" {
		return flows, nil
	}
	cluster, err := c.cluster(ctx)
	if err != nil {
		return nil, err
	}
	controlPlane, err := c.clusterSubnets(ctx)
	if err != nil {
		return nil, err
	}
	connect("the API server", clients, controlPlane, httpsPort, cluster.family)
	connect("the webhook", controlPlane, clients, c.Port, cluster.family)
	return flows, nil
}

// aclDenial is what one direction of a network ACL denies.
type aclDenial struct {
	acl      networkACL
	isOut    bool
	number   int32 // of the rule
	peer     netip.Prefix
	from, to int32
	what     string
	isReturn bool
}

// evaluate returns what network ACLs deny of a flow: its packets, and those back to the
// ports of the client.
func (f flow) evaluate(v vpc, acls map[string]networkACL) (denials []aclDenial) {
	check := func(of subnet, isOut bool, peer netip.Prefix, first, last int32, isReturn bool) {
		acl, ok := acls[of.id]
		if !ok {
			return // it is not in the VPC
		}
		rules := acl.in
		if isOut {
			rules = acl.out
		}
		if number, isDenied := denial(rules, packets{peer, first, last}); isDenied {
			denials = append(denials, aclDenial{acl, isOut, number, v.blockOf(peer), first, last, f.what, isReturn})
		}
	}
	client := f.from.block(f.family)
	for _, server := range f.toPrefixes {
		check(f.from, true, server, f.port, f.port, false)
		check(f.to, false, client, f.port, f.port, false)
		check(f.to, true, client, firstClientPort, lastClientPort, true)
		check(f.from, false, server, firstClientPort, lastClientPort, true)
	}
	return denials
}

func (d aclDenial) String() string {
	direction, preposition := directionIn, "from"
	if d.isOut {
		direction, preposition = directionOut, "to"
	}
	ports := fmt.Sprintf("port %d", d.from)
	if d.isReturn {
		ports = fmt.Sprintf("the answers, ports %d-%d,", d.from, d.to)
	}
	return fmt.Sprintf("%s, %s rule %d: %s %s %s, for %s", d.acl.id, direction, d.number, ports, preposition, d.peer, d.what)
}

func reportNetworkACLs(region string, v vpc, acls map[string]networkACL, flows []flow) doctor.Finding {
	var found, details []string
	var elements []doctor.Element
	var denials []aclDenial
	for _, f := range flows {
		for _, d := range f.evaluate(v, acls) {
			if text := d.String(); !slices.Contains(details, text) {
				found, details, denials = append(found, d.acl.id), append(details, text), append(denials, d)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(acls)) {
		if slices.Contains(found, acls[id].id) {
			elements = append(elements, doctor.Subnet(id))
		}
	}
	if len(details) == 0 {
		return doctor.OKf("the network ACLs of %d subnets allow all connections that are needed", len(acls))
	}
	return doctor.Failf(strings.Join(allowInACLs(region, denials), "\n")+"\nTerraform: resource \"aws_network_acl_rule\" for each; a network ACL has at most 20 rules for each direction by default",
		"denied by %s", doctor.List(doctor.Distinct(found), 4)).With(details...).At(elements...)
}

// allowInACLs returns commands that add rules before those that deny. The peers are the
// blocks of the VPC, and for a gateway those of its service.
func allowInACLs(region string, denials []aclDenial) (commands []string) {
	used := map[string]bool{} // rule numbers by network ACL and direction
	key := func(d aclDenial, number int32) string { return fmt.Sprint(d.acl.id, d.isOut, number) }
	for _, d := range denials {
		for _, r := range d.rules() {
			used[key(d, r.number)] = true
		}
	}
	done := map[string]bool{}
	for _, d := range denials {
		options := fmt.Sprintf("--protocol tcp --port-range From=%d,To=%d --rule-action allow %s %s", d.from, d.to, cidrOption(d.peer), d.peer)
		direction := "--ingress"
		if d.isOut {
			direction = "--egress"
		}
		if done[d.acl.id+direction+options] {
			continue
		}
		done[d.acl.id+direction+options] = true
		number := d.number - 1
		for number > 0 && used[key(d, number)] {
			number--
		}
		if number == 0 {
			commands = append(commands, fmt.Sprintf("move rule %d of %s behind a rule that allows: %s %s", d.number, d.acl.id, direction, options))
			continue
		}
		used[key(d, number)] = true
		commands = append(commands, fmt.Sprintf("aws ec2 create-network-acl-entry --region %s --network-acl-id %s %s --rule-number %d %s", region, d.acl.id, direction, number, options))
	}
	return commands
}

func (d aclDenial) rules() []aclRule {
	if d.isOut {
		return d.acl.out
	}
	return d.acl.in
}

func cidrOption(p netip.Prefix) string {
	if p.Addr().Is6() {
		return "--ipv6-cidr-block"
	}
	return "--cidr-block"
}
