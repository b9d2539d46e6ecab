// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

func (c *checker) checkNodeEgress(ctx context.Context) doctor.Finding {
	if c.Cluster == "" {
		return skippedWithoutCluster()
	}
	facts, err := c.gatherEgress(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return facts.evaluate().report(c.region)
}

// egressFacts are the connections at port 443 that nodes and pods open.
type egressFacts struct {
	nodes   []nodeFacts // ingress is not set
	allowed []peers     // for each of nodes
	targets []egressTarget
}

// egressTarget is what nodes connect to: it is allowed by one of its security groups, by
// all of its subnets, or by all of its prefixes.
type egressTarget struct {
	name       string
	groups     []string
	subnets    []subnet
	prefixes   []netip.Prefix
	prefixList string // ID, with prefixes
}

// isAllowed reports whether peers have the target.
func (t egressTarget) isAllowed(p peers) bool {
	if len(t.prefixes) > 0 {
		return !slices.ContainsFunc(t.prefixes, func(n netip.Prefix) bool { return !covers(p.prefixes, n) })
	}
	return p.include(t.groups, t.subnets, ipv4)
}

func (c *checker) gatherEgress(ctx context.Context) (f egressFacts, err error) {
	nodes, err := c.nodes(ctx)
	if err != nil {
		return f, err
	}
	cluster, err := c.cluster(ctx)
	if err != nil {
		return f, err
	}
	if f.nodes = nodesByGroups(nodes); len(f.nodes) == 0 { // EKS gives nodes this group by default
		f.nodes = []nodeFacts{{groups: cluster.securityGroups[:1]}}
	}
	for _, n := range f.nodes {
		p, err := c.allowedPeers(ctx, n.groups, httpsPort, egress)
		if err != nil {
			return f, err
		}
		f.allowed = append(f.allowed, p)
	}
	f.targets, err = c.egressTargets(ctx, cluster)
	return f, err
}

func (c *checker) egressTargets(ctx context.Context, cluster cluster) (targets []egressTarget, err error) {
	clusterSubnets, err := c.clusterSubnets(ctx)
	if err != nil {
		return nil, err
	}
	targets = append(targets, egressTarget{name: "the API server", groups: cluster.securityGroups[:1], subnets: clusterSubnets})
	services, err := c.presentEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	subnets, err := c.vpcSubnets(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		for _, e := range s.active() {
			t := egressTarget{name: s.Name, groups: e.securityGroups, subnets: filter(subnets, func(s subnet) bool { return slices.Contains(e.subnets, s.id) })}
			if e.isGateway {
				if t, err = c.gatewayTarget(ctx, s.Name); err != nil {
					return nil, err
				}
			}
			targets = append(targets, t)
		}
	}
	return targets, nil
}

// gatewayTarget returns the addresses of a service with a gateway. They are in a prefix
// list of AWS.
func (c *checker) gatewayTarget(ctx context.Context, service string) (t egressTarget, err error) {
	t.name = service
	t.prefixList, t.prefixes, err = c.gatewayPrefixes(ctx, service)
	return t, err
}

// gatewayPrefixes returns the prefix list of a service with a gateway.
func (c *checker) gatewayPrefixes(ctx context.Context, service string) (id string, prefixes []netip.Prefix, err error) {
	name := "com.amazonaws." + c.region + "." + service
	pages := ec2.NewDescribeManagedPrefixListsPaginator(c.ec2, &ec2.DescribeManagedPrefixListsInput{Filters: []types.Filter{{Name: aws.String("prefix-list-name"), Values: []string{name}}}})
	lists, err := awsapi.Collect(ctx, "ec2:DescribeManagedPrefixLists", pages, func(p *ec2.DescribeManagedPrefixListsOutput) []types.ManagedPrefixList { return p.PrefixLists })
	if err != nil {
		return "", nil, err
	}
	for _, l := range lists {
		if aws.ToString(l.PrefixListName) != name {
			continue
		}
		id = aws.ToString(l.PrefixListId)
		if prefixes, err = c.readPrefixList(ctx, id); err == nil && len(prefixes) > 0 {
			return id, prefixes, nil
		}
		return id, nil, err
	}
	return "", nil, awsapi.NewError("ec2:DescribeManagedPrefixLists", fmt.Errorf("EC2 returned no prefix list %s", name))
}

// egressVerdict names what nodes cannot connect to.
type egressVerdict struct {
	nodes, targets int
	blocked        []blockedEgress
	unreadable     []string
}

type blockedEgress struct {
	groups, instances []string
	targets           []egressTarget
}

func (f egressFacts) evaluate() egressVerdict {
	v := egressVerdict{targets: len(f.targets)}
	var instances []string
	for i, n := range f.nodes {
		instances = append(instances, n.instances...)
		denied := filter(f.targets, func(t egressTarget) bool { return !t.isAllowed(f.allowed[i]) })
		switch {
		case len(denied) == 0:
		case len(f.allowed[i].unreadable) > 0:
			v.unreadable = append(v.unreadable, f.allowed[i].unreadable...)
		default:
			v.blocked = append(v.blocked, blockedEgress{n.groups, n.instances, denied})
		}
	}
	v.nodes = len(doctor.Distinct(instances))
	return v
}

func (v egressVerdict) report(region string) doctor.Finding {
	if len(v.blocked) == 0 && len(v.unreadable) > 0 {
		return unreadableRules(v.unreadable)
	}
	if len(v.blocked) == 0 {
		return doctor.OKf("port %d is open from %d nodes to %d targets", httpsPort, v.nodes, v.targets)
	}
	var names, details, remedies []string
	for _, b := range v.blocked {
		var denied []string
		for _, t := range b.targets {
			denied = append(denied, t.name)
			if len(b.groups) > 0 {
				remedies = append(remedies, t.allowFrom(region, b.groups[0]))
			}
		}
		names = append(names, denied...)
		details = append(details, fmt.Sprintf("%s: no egress rule allows %s: %s", strings.Join(b.groups, ", "), strings.Join(denied, ", "), doctor.List(b.instances, 4)))
	}
	return doctor.Failf(strings.Join(append(doctor.Distinct(remedies), terraformRule(directionOut, httpsPort)), "\n"),
		"nodes may not connect to port %d of %s", httpsPort, doctor.List(doctor.Distinct(names), 5)).With(doctor.Distinct(details)...)
}

// allowFrom returns the command that allows the target to a security group of nodes.
func (t egressTarget) allowFrom(region, group string) string {
	switch {
	case t.prefixList != "":
		return fmt.Sprintf("aws ec2 authorize-security-group-egress --region %s --group-id %s --ip-permissions IpProtocol=tcp,FromPort=%d,ToPort=%[3]d,PrefixListIds=[{PrefixListId=%s}]", region, group, httpsPort, t.prefixList)
	case len(t.groups) > 0:
		return allowCommand(directionOut, region, group, httpsPort, "--source-group "+t.groups[0])
	}
	return fmt.Sprintf("allow %s egress to %s at port %d", group, t.name, httpsPort)
}
