// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// opening is what some security groups let through at one TCP port.
type opening struct {
	prefixes []netip.Prefix
	groups   []string
	// unread are lists of prefixes that could not be asked for.
	unread []string
}

// member tells whether one of these security groups is let through as such.
func (o opening) member(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(o.groups, g) })
}

// open collects the rules that let a TCP port through. Lists of prefixes are
// looked up by list. IPv6 is left out: the networks looked at are of IPv4.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
func open(rules []types.IpPermission, port int32, list func(id string) ([]netip.Prefix, bool)) (o opening) {
	for _, r := range rules {
		switch aws.ToString(r.IpProtocol) {
		case "-1": // all protocols, and with that all ports
		case "tcp", "6":
			// No port at all means all, as does -1.
			if from := aws.ToInt32(r.FromPort); r.FromPort != nil && from != -1 && (port < from || port > aws.ToInt32(r.ToPort)) {
				continue
			}
		default:
			continue
		}
		for _, ip := range r.IpRanges {
			if p, err := netip.ParsePrefix(aws.ToString(ip.CidrIp)); err == nil {
				o.prefixes = append(o.prefixes, p.Masked())
			}
		}
		for _, g := range r.UserIdGroupPairs {
			o.groups = append(o.groups, aws.ToString(g.GroupId))
		}
		for _, l := range r.PrefixListIds {
			prefixes, ok := list(aws.ToString(l.PrefixListId))
			if !ok {
				o.unread = append(o.unread, aws.ToString(l.PrefixListId))
			}
			o.prefixes = append(o.prefixes, prefixes...)
		}
	}
	return o
}

// covers tells whether every address of network is in one of prefixes. Halves of
// it may be in different ones.
func covers(prefixes []netip.Prefix, network netip.Prefix) bool {
	network = network.Masked()
	within := false // some prefix is a true part of network
	for _, p := range prefixes {
		if p.Bits() <= network.Bits() && p.Contains(network.Addr()) {
			return true
		}
		within = within || p.Bits() > network.Bits() && network.Contains(p.Addr())
	}
	if !within || network.Bits() >= network.Addr().BitLen() {
		return false
	}
	low, high := halves(network)
	return covers(prefixes, low) && covers(prefixes, high)
}

// halves splits a network of more than one address.
func halves(network netip.Prefix) (low, high netip.Prefix) {
	bytes := network.Addr().AsSlice()
	bytes[network.Bits()/8] |= 0x80 >> (network.Bits() % 8)
	addr, _ := netip.AddrFromSlice(bytes) // of the same length as before
	return netip.PrefixFrom(network.Addr(), network.Bits()+1), netip.PrefixFrom(addr, network.Bits()+1)
}

// list returns a customer's or AWS's list of prefixes.
func (v *vpc) list(ctx context.Context) func(id string) ([]netip.Prefix, bool) {
	return func(id string) (all []netip.Prefix, ok bool) {
		pages := ec2.NewGetManagedPrefixListEntriesPaginator(v.ec2, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, false
			}
			for _, e := range page.Entries {
				if p, err := netip.ParsePrefix(aws.ToString(e.Cidr)); err == nil {
					all = append(all, p.Masked())
				}
			}
		}
		return all, true
	}
}

// opened collects the rules of several security groups: what one lets through
// passes. A group that is not one of the VPC could not be asked for.
func (v *vpc) opened(ctx context.Context, ids []string, port int32, rules func(types.SecurityGroup) []types.IpPermission) (o opening, err error) {
	all, err := v.groups(ctx)
	if err != nil {
		return o, err
	}
	for _, id := range ids {
		g, ok := all[id]
		if !ok {
			o.unread = append(o.unread, id)
			continue
		}
		one := open(rules(g), port, v.list(ctx))
		o.prefixes, o.groups, o.unread = append(o.prefixes, one.prefixes...), append(o.groups, one.groups...), append(o.unread, one.unread...)
	}
	return o, nil
}

func ingress(g types.SecurityGroup) []types.IpPermission { return g.IpPermissions }
func egress(g types.SecurityGroup) []types.IpPermission  { return g.IpPermissionsEgress }

// groupsOf are the IDs of security groups.
func groupsOf(all []types.GroupIdentifier) (ids []string) {
	for _, g := range all {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	return ids
}

// network is the one of a subnet.
func network(s types.Subnet) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(aws.ToString(s.CidrBlock))
	return p, err == nil
}
