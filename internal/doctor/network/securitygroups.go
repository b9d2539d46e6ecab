// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// peers are the sources or destinations that security groups allow at one TCP
// port.
type peers struct {
	prefixes []netip.Prefix
	groups   []string
	// unreadable are security groups and prefix lists that could not be read, and
	// that may allow more.
	unreadable []string
}

func (p *peers) add(other peers) {
	p.prefixes = append(p.prefixes, other.prefixes...)
	p.groups = append(p.groups, other.groups...)
	p.unreadable = append(p.unreadable, other.unreadable...)
}

// addRange adds a range of addresses of a rule.
func (p *peers) addRange(cidr *string) {
	if prefix, err := netip.ParsePrefix(aws.ToString(cidr)); err == nil {
		p.prefixes = append(p.prefixes, prefix.Masked())
	}
}

// includeGroup reports whether one of the security groups is allowed as such.
func (p peers) includeGroup(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(p.groups, g) })
}

// includeSubnet reports whether all addresses of a family in a subnet are allowed.
func (p peers) includeSubnet(s subnet, f family) bool {
	return s.block(f).IsValid() && covers(p.prefixes, s.block(f))
}

// include reports whether one of the security groups, or every one of the subnets,
// is allowed.
func (p peers) include(groups []string, subnets []subnet, f family) bool {
	return p.includeGroup(groups) ||
		len(subnets) > 0 && !slices.ContainsFunc(subnets, func(s subnet) bool { return !p.includeSubnet(s, f) })
}

// includeAll reports whether each network interface, given by its security
// groups, is allowed by one of them. It is false if there is no interface.
func (p peers) includeAll(interfaces [][]string) bool {
	return len(interfaces) > 0 && !slices.ContainsFunc(interfaces, func(groups []string) bool { return !p.includeGroup(groups) })
}

// peersOf returns the peers that rules allow at a TCP port. prefixList reads a prefix list, and returns false if it cannot.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
func peersOf(rules []types.IpPermission, port int32, prefixList func(id string) ([]netip.Prefix, bool)) (p peers) {
	for _, r := range rules {
		if !appliesToPort(r, port) {
			continue
		}
		for _, ip := range r.IpRanges {
			p.addRange(ip.CidrIp)
		}
		for _, ip := range r.Ipv6Ranges {
			p.addRange(ip.CidrIpv6)
		}
		for _, g := range r.UserIdGroupPairs {
			p.groups = append(p.groups, aws.ToString(g.GroupId))
		}
		for _, l := range r.PrefixListIds {
			prefixes, ok := prefixList(aws.ToString(l.PrefixListId))
			if !ok {
				p.unreadable = append(p.unreadable, aws.ToString(l.PrefixListId))
			}
			p.prefixes = append(p.prefixes, prefixes...)
		}
	}
	return p
}

func appliesToPort(r types.IpPermission, port int32) bool {
	switch aws.ToString(r.IpProtocol) {
	case "-1": // all protocols and ports
		return true
	case "tcp", "6":
		if r.FromPort == nil || *r.FromPort == -1 { // all ports
			return true
		}
		return *r.FromPort <= port && port <= aws.ToInt32(r.ToPort)
	}
	return false
}

// covers reports whether each address of network is in one of the prefixes.
func covers(prefixes []netip.Prefix, network netip.Prefix) bool {
	network = network.Masked()
	hasPart := false // a prefix is smaller than network, and in it
	for _, p := range prefixes {
		if p.Bits() <= network.Bits() && p.Contains(network.Addr()) {
			return true
		}
		hasPart = hasPart || p.Bits() > network.Bits() && network.Contains(p.Addr())
	}
	if !hasPart || network.Bits() >= network.Addr().BitLen() {
		return false
	}
	low, high := halves(network)
	return covers(prefixes, low) && covers(prefixes, high)
}

// halves splits a network of more than one address.
func halves(network netip.Prefix) (low, high netip.Prefix) {
	bytes := network.Addr().AsSlice()
	bytes[network.Bits()/8] |= 0x80 >> (network.Bits() % 8)
	addr, _ := netip.AddrFromSlice(bytes) // the length is valid
	return netip.PrefixFrom(network.Addr(), network.Bits()+1), netip.PrefixFrom(addr, network.Bits()+1)
}

func ingress(g types.SecurityGroup) []types.IpPermission { return g.IpPermissions }
func egress(g types.SecurityGroup) []types.IpPermission  { return g.IpPermissionsEgress }

// unreadableRules is the finding if only rules that could not be read may allow a
// connection.
func unreadableRules(ids []string) doctor.Finding {
	return doctor.Unknownf("the caller needs ec2:DescribeSecurityGroups and ec2:GetManagedPrefixListEntries; inspect those of another VPC or account there",
		"these could not be read, and may allow the connection: %s", doctor.List(doctor.Distinct(ids), 4))
}

// The directions of rules.
const (
	directionIn  = "ingress"
	directionOut = "egress"
)

// allowCommand returns the command that allows TCP connections. direction is
// ingress or egress, and peer the option that names the other end.
func allowCommand(direction, region, group string, port int32, peer string) string {
	return fmt.Sprintf("aws ec2 authorize-security-group-%s --region %s --group-id %s --protocol tcp --port %d %s", direction, region, group, port, peer)
}

func terraformRule(direction string, port int32) string {
	return fmt.Sprintf("Terraform: resource \"aws_vpc_security_group_%s_rule\" { ip_protocol = \"tcp\", from_port = %d, to_port = %d, ... }", direction, port, port)
}
