// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func testSubnets() []subnet {
	return []subnet{
		{id: "subnet-1", zone: "us-east-1a", cidr: netip.MustParsePrefix("10.0.1.0/24"), isRoutable: true},
		{id: "subnet-2", zone: "us-east-1b", cidr: netip.MustParsePrefix("10.0.2.0/24"), isRoutable: true},
	}
}

func TestNodesByGroups(t *testing.T) {
	got := nodesByGroups([]node{
		{id: "i-1", interfaces: []networkInterface{{"subnet-1", []string{"sg-2", "sg-1"}}, {"subnet-2", []string{"sg-1", "sg-2"}}}},
		{id: "i-2", interfaces: []networkInterface{{"subnet-1", []string{"sg-1", "sg-2"}}, {"subnet-2", []string{"sg-3"}}}},
	})
	want := []nodeFacts{{groups: []string{"sg-1", "sg-2"}, instances: []string{"i-1", "i-2"}}, {groups: []string{"sg-3"}, instances: []string{"i-2"}}}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestControlPlaneEvaluate(t *testing.T) {
	toAll := peers{prefixes: prefixes("0.0.0.0/0")}
	fromCluster := peers{groups: []string{"sg-cluster"}}
	nodes := func(group string, ingress peers, instances ...string) nodeFacts {
		return nodeFacts{[]string{group}, instances, ingress}
	}
	for name, c := range map[string]struct {
		egress peers
		nodes  []nodeFacts
		want   controlPlaneVerdict
	}{
		"allowed by the cluster security group": {toAll, []nodeFacts{nodes("sg-cluster", fromCluster, "i-1", "i-2")}, controlPlaneVerdict{nodes: 2}},
		"allowed by an additional group":        {toAll, []nodeFacts{nodes("sg-node", peers{groups: []string{"sg-extra"}}, "i-1")}, controlPlaneVerdict{nodes: 1}},
		"allowed by the addresses of the control plane, which is in the cluster's subnets": {
			toAll, []nodeFacts{nodes("sg-node", peers{prefixes: prefixes("10.0.1.0/24")}, "i-1")}, controlPlaneVerdict{nodes: 1}},
		"egress allowed by the group of the nodes": {peers{groups: []string{"sg-node"}}, []nodeFacts{nodes("sg-node", fromCluster, "i-1")}, controlPlaneVerdict{nodes: 1}},
		"no ingress on one of three nodes": {
			toAll, []nodeFacts{nodes("sg-cluster", fromCluster, "i-1", "i-2"), nodes("sg-node", peers{}, "i-3")},
			controlPlaneVerdict{nodes: 3, blocked: []blockedNodes{{[]string{"sg-node"}, []string{"i-3"}, true, false}}}},
		"no egress": {
			peers{prefixes: prefixes("10.0.1.0/24")}, []nodeFacts{nodes("sg-node", fromCluster, "i-1")},
			controlPlaneVerdict{nodes: 1, blocked: []blockedNodes{{[]string{"sg-node"}, []string{"i-1"}, false, true}}}},
		"neither": {
			peers{}, []nodeFacts{nodes("sg-node", peers{}, "i-1")},
			controlPlaneVerdict{nodes: 1, blocked: []blockedNodes{{[]string{"sg-node"}, []string{"i-1"}, true, true}}}},
		"a prefix list may allow ingress": {
			toAll, []nodeFacts{nodes("sg-node", peers{unreadable: []string{"pl-1"}}, "i-1")}, controlPlaneVerdict{nodes: 1, unreadable: []string{"pl-1"}}},
		"an unreadable list does not matter where a rule allows it": {
			toAll, []nodeFacts{nodes("sg-node", peers{groups: []string{"sg-cluster"}, unreadable: []string{"pl-1"}}, "i-1")}, controlPlaneVerdict{nodes: 1}},
		"a node with two kinds of network interfaces counts once": {
			toAll, []nodeFacts{nodes("sg-cluster", fromCluster, "i-1"), nodes("sg-pods", peers{}, "i-1")},
			controlPlaneVerdict{nodes: 1, blocked: []blockedNodes{{[]string{"sg-pods"}, []string{"i-1"}, true, false}}}},
	} {
		t.Run(name, func(t *testing.T) {
			subnets := testSubnets()
			f := controlPlaneFacts{family: ipv4, groups: []string{"sg-cluster", "sg-extra"}, clusterSubnets: subnets[:1], subnets: subnets, egress: c.egress, nodes: c.nodes}
			c.want.groups = f.groups
			if d := diff(c.want, f.evaluate()); d != "" {
				t.Error(d)
			}
		})
	}
}

// The pods of an IPv6 cluster are reached over IPv6: rules for IPv4 do not apply.
func TestControlPlaneEvaluateIPv6(t *testing.T) {
	subnets := []subnet{{id: "subnet-1", cidr: netip.MustParsePrefix("10.0.1.0/24"), cidr6: netip.MustParsePrefix("2600:1f18::/64")}}
	for name, c := range map[string]struct {
		egress, ingress peers
		want            int
	}{
		"by group":        {peers{groups: []string{"sg-node"}}, peers{groups: []string{"sg-cluster"}}, 0},
		"by address":      {peers{prefixes: prefixes("::/0")}, peers{prefixes: prefixes("2600:1f18::/56")}, 0},
		"egress of IPv4":  {peers{prefixes: prefixes("0.0.0.0/0")}, peers{groups: []string{"sg-cluster"}}, 1},
		"ingress of IPv4": {peers{prefixes: prefixes("::/0")}, peers{prefixes: prefixes("10.0.0.0/16")}, 1},
	} {
		f := controlPlaneFacts{family: ipv6, groups: []string{"sg-cluster"}, clusterSubnets: subnets, subnets: subnets, egress: c.egress, nodes: []nodeFacts{{[]string{"sg-node"}, []string{"i-1"}, c.ingress}}}
		if v := f.evaluate(); len(v.blocked) != c.want {
			t.Errorf("%s: %+v", name, v.blocked)
		}
	}
}

func TestControlPlaneReport(t *testing.T) {
	rules := terraformRule(directionOut, 9443) + "\n" + `Terraform: resource "aws_vpc_security_group_ingress_rule" { ip_protocol = "tcp", from_port = 9443, to_port = 9443, ... }`
	for name, c := range map[string]struct {
		verdict controlPlaneVerdict
		want    doctor.Finding
	}{
		"open": {controlPlaneVerdict{nodes: 2}, doctor.OKf("port 9443 is open on 2 nodes")},
		"closed in both directions": {
			controlPlaneVerdict{nodes: 3, blocked: []blockedNodes{{[]string{"sg-node"}, []string{"i-1"}, true, true}, {[]string{"sg-pods"}, []string{"i-1"}, true, false}}},
			doctor.Failf("aws ec2 authorize-security-group-egress --region us-east-1 --group-id sg-cluster --protocol tcp --port 9443 --source-group sg-node\n"+
				"aws ec2 authorize-security-group-ingress --region us-east-1 --group-id sg-node --protocol tcp --port 9443 --source-group sg-cluster\n"+
				"aws ec2 authorize-security-group-ingress --region us-east-1 --group-id sg-pods --protocol tcp --port 9443 --source-group sg-cluster\n"+
				rules,
				"port 9443 is closed on 1 of 3 nodes").With(
				"sg-cluster: no egress rule allows port 9443 to sg-node", "sg-node: no ingress rule allows port 9443 from sg-cluster: i-1", "sg-pods: no ingress rule allows port 9443 from sg-cluster: i-1"),
		},
		"closed on a network interface without a group": {
			controlPlaneVerdict{nodes: 1, blocked: []blockedNodes{{nil, []string{"i-1"}, true, true}}},
			doctor.Failf(rules,
				"port 9443 is closed on 1 of 1 nodes").With(": no ingress rule allows port 9443 from sg-cluster: i-1", "sg-cluster: no egress rule allows port 9443 to "),
		},
		"unknown": {
			controlPlaneVerdict{nodes: 1, unreadable: []string{"pl-2", "pl-1", "pl-2"}},
			doctor.Unknownf("the caller needs ec2:DescribeSecurityGroups and ec2:GetManagedPrefixListEntries; inspect those of another VPC or account there",
				"these could not be read, and may allow the connection: pl-1, pl-2"),
		},
		"closed by the control plane's own groups": {
			controlPlaneVerdict{nodes: 1, blocked: []blockedNodes{{[]string{"sg-node"}, []string{"i-1"}, false, true}}},
			doctor.Failf("aws ec2 authorize-security-group-egress --region us-east-1 --group-id sg-cluster --protocol tcp --port 9443 --source-group sg-node\n"+
				`Terraform: resource "aws_vpc_security_group_egress_rule" { ip_protocol = "tcp", from_port = 9443, to_port = 9443, ... }`,
				"port 9443 is closed on 1 of 1 nodes").With("sg-cluster: no egress rule allows port 9443 to sg-node"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.verdict.groups = []string{"sg-cluster"}
			if d := diff(c.want, c.verdict.report("us-east-1", 9443)); d != "" {
				t.Error(d)
			}
		})
	}
}
