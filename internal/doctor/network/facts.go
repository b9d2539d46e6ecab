// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/route53"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// checker gathers facts from AWS. Those that several checks need are read once.
type checker struct {
	Config
	region        string
	ec2           *ec2.Client
	eks           *eks.Client
	organizations *organizations.Client
	route53       *route53.Client

	accountOnce        doctor.Once[string]
	clusterOnce        doctor.Once[cluster]
	vpcOnce            doctor.Once[vpc]
	zonesOnce          doctor.Once[[]hostedZone]
	routingOnce        doctor.Once[routing]
	nodesOnce          doctor.Once[[]node]
	vpcSubnetsOnce     doctor.Once[[]subnet]
	subnetsOnce        doctor.Once[[]subnet]
	endpointsOnce      doctor.Once[[]endpoint]
	securityGroupsOnce doctor.Once[map[string]types.SecurityGroup]
}

func (c *checker) cluster(ctx context.Context) (cluster, error) {
	return c.clusterOnce.Get(ctx, func(ctx context.Context) (cluster, error) {
		described, err := awsapi.DescribeCluster(ctx, c.AWS, c.Cluster, c.Expected)
		if err != nil {
			return cluster{}, err
		}
		if described.ResourcesVpcConfig == nil {
			return cluster{}, awsapi.NewError("eks:DescribeCluster", errors.New("cluster "+c.Cluster+" has no VPC"))
		}
		return newCluster(described), nil
	})
}

// nodes returns the nodes of the cluster, or none without a cluster.
func (c *checker) nodes(ctx context.Context) ([]node, error) {
	return c.nodesOnce.Get(ctx, func(ctx context.Context) (nodes []node, err error) {
		if c.Cluster == "" {
			return nil, nil
		}
		instances, err := awsapi.Nodes(ctx, c.ec2, c.Cluster)
		for _, i := range instances {
			nodes = append(nodes, newNode(i))
		}
		return nodes, err
	})
}

func (c *checker) vpcID(ctx context.Context) (string, error) {
	if c.Cluster == "" || c.VPC != "" {
		return c.VPC, nil
	}
	cluster, err := c.cluster(ctx)
	return cluster.vpc, err
}

// vpcFilter selects what belongs to the VPC.
func (c *checker) vpcFilter(ctx context.Context) ([]types.Filter, error) {
	id, err := c.vpcID(ctx)
	return []types.Filter{{Name: aws.String("vpc-id"), Values: []string{id}}}, err
}

// vpcSubnets returns all subnets of the VPC: endpoints may be in other ones than
// the nodes.
func (c *checker) vpcSubnets(ctx context.Context) ([]subnet, error) {
	return c.vpcSubnetsOnce.Get(ctx, func(ctx context.Context) (subnets []subnet, err error) {
		filter, err := c.vpcFilter(ctx)
		if err != nil {
			return nil, err
		}
		pages := ec2.NewDescribeSubnetsPaginator(c.ec2, &ec2.DescribeSubnetsInput{Filters: filter})
		described, err := awsapi.Collect(ctx, "ec2:DescribeSubnets", pages, func(p *ec2.DescribeSubnetsOutput) []types.Subnet { return p.Subnets })
		for _, s := range described {
			subnets = append(subnets, newSubnet(s))
		}
		return subnets, err
	})
}

// clusterSubnets returns the subnets of the control plane.
func (c *checker) clusterSubnets(ctx context.Context) ([]subnet, error) {
	cluster, err := c.cluster(ctx)
	if err != nil {
		return nil, err
	}
	subnets, err := c.vpcSubnets(ctx)
	return filter(subnets, func(s subnet) bool { return slices.Contains(cluster.subnets, s.id) }), err
}

// subnets returns the subnets that are checked: the configured ones, or else those of
// the cluster, or else all of the VPC.
func (c *checker) subnets(ctx context.Context) ([]subnet, error) {
	return c.subnetsOnce.Get(ctx, func(ctx context.Context) (subnets []subnet, err error) {
		all, err := c.vpcSubnets(ctx)
		switch {
		case err != nil:
			return nil, err
		case len(c.Subnets) > 0:
			subnets = filter(all, func(s subnet) bool { return slices.Contains(c.Subnets, s.id) })
		case c.Cluster != "":
			if subnets, err = c.usedSubnets(ctx, all); err != nil {
				return nil, err
			}
		default:
			subnets = all
			routes, _ := c.routing(ctx) // if it cannot be read, checks that need it say so
			if private := filter(all, func(s subnet) bool { return !routes.isPublic(s) }); len(private) > 0 {
				subnets = private
			}
		}
		if len(subnets) == 0 {
			return nil, awsapi.NewError("ec2:DescribeSubnets", errors.New("the VPC has none of the subnets of the cluster"))
		}
		return subnets, nil
	})
}

// usedSubnets returns those of all subnets in which nodes and pods of the cluster are or
// may come to be: those of node groups and nodes, those of the control plane that CAST AI
// may select, and those for pods in the same zones. The control plane may have subnets
// for itself, and public ones are for load balancers.
func (c *checker) usedSubnets(ctx context.Context, all []subnet) (used []subnet, err error) {
	cluster, err := c.cluster(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := awsapi.NodeGroups(ctx, c.eks, c.Cluster)
	if err != nil {
		return nil, err
	}
	var withNodes, withPods []string
	for _, n := range nodes {
		withNodes = append(withNodes, n.subnet)
		for _, i := range n.interfaces {
			withPods = append(withPods, i.subnet)
		}
	}
	for _, g := range groups {
		withNodes = append(withNodes, g.Subnets...)
	}
	// If route tables cannot be read, checks that need them say so.
	routes, _ := c.routing(ctx)
	for _, s := range all {
		mayHaveNodes := slices.Contains(cluster.subnets, s.id) && !routes.isPublic(s) && (s.isRoutable || len(withNodes) == 0)
		if slices.Contains(withNodes, s.id) || mayHaveNodes {
			used = append(used, s)
		}
	}
	if len(used) == 0 {
		return c.clusterSubnets(ctx)
	}
	zones := zones(used)
	for _, s := range all {
		isUsed := slices.ContainsFunc(used, func(u subnet) bool { return u.id == s.id })
		if !isUsed && (slices.Contains(withPods, s.id) || slices.Contains(zones, s.zone) && s.isForPods(c.Cluster)) {
			s.isPodOnly = true
			used = append(used, s)
		}
	}
	return used, nil
}

// endpoints returns the endpoints of the VPC in any state but deleted.
func (c *checker) endpoints(ctx context.Context) ([]endpoint, error) {
	return c.endpointsOnce.Get(ctx, func(ctx context.Context) (endpoints []endpoint, err error) {
		filter, err := c.vpcFilter(ctx)
		if err != nil {
			return nil, err
		}
		pages := ec2.NewDescribeVpcEndpointsPaginator(c.ec2, &ec2.DescribeVpcEndpointsInput{Filters: filter})
		described, err := awsapi.Collect(ctx, "ec2:DescribeVpcEndpoints", pages, func(p *ec2.DescribeVpcEndpointsOutput) []types.VpcEndpoint { return p.VpcEndpoints })
		if len(described) == 0 && err == nil {
			err = c.foreignVPC(ctx, "endpoints")
		}
		for _, d := range described {
			if e := newEndpoint(d); !e.isIn(types.StateDeleted) && !e.isIn(types.StateDeleting) {
				endpoints = append(endpoints, e)
			}
		}
		return endpoints, err
	})
}

// presentEndpoints returns the needed services of AWS and CAST AI that have an
// endpoint.
func (c *checker) presentEndpoints(ctx context.Context) ([]serviceEndpoints, error) {
	endpoints, err := c.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	grouped := groupByService(slices.Concat(c.Services, c.CASTAI), c.region, endpoints)
	return filter(grouped, func(s serviceEndpoints) bool { return len(s.endpoints) > 0 }), nil
}

// securityGroups returns the security groups of the VPC by ID.
func (c *checker) securityGroups(ctx context.Context) (map[string]types.SecurityGroup, error) {
	return c.securityGroupsOnce.Get(ctx, func(ctx context.Context) (map[string]types.SecurityGroup, error) {
		filter, err := c.vpcFilter(ctx)
		if err != nil {
			return nil, err
		}
		pages := ec2.NewDescribeSecurityGroupsPaginator(c.ec2, &ec2.DescribeSecurityGroupsInput{Filters: filter})
		described, err := awsapi.Collect(ctx, "ec2:DescribeSecurityGroups", pages, func(p *ec2.DescribeSecurityGroupsOutput) []types.SecurityGroup { return p.SecurityGroups })
		groups := map[string]types.SecurityGroup{}
		for _, g := range described {
			groups[aws.ToString(g.GroupId)] = g
		}
		return groups, err
	})
}

// allowedPeers returns the peers that security groups allow at a port, by the
// rules of one direction.
func (c *checker) allowedPeers(ctx context.Context, ids []string, port int32, rules func(types.SecurityGroup) []types.IpPermission) (p peers, err error) {
	groups, err := c.securityGroups(ctx)
	if err != nil {
		return p, err
	}
	for _, id := range ids {
		g, ok := groups[id]
		if !ok { // it belongs to another VPC or account
			p.unreadable = append(p.unreadable, id)
			continue
		}
		p.add(peersOf(rules(g), port, func(list string) ([]netip.Prefix, bool) { return c.prefixList(ctx, list) }))
	}
	return p, nil
}

// prefixList returns the entries of a managed prefix list, and false if it cannot
// be read.
func (c *checker) prefixList(ctx context.Context, id string) (entries []netip.Prefix, ok bool) {
	entries, err := c.readPrefixList(ctx, id)
	return entries, err == nil
}

func (c *checker) readPrefixList(ctx context.Context, id string) (entries []netip.Prefix, err error) {
	pages := ec2.NewGetManagedPrefixListEntriesPaginator(c.ec2, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id})
	described, err := awsapi.Collect(ctx, "ec2:GetManagedPrefixListEntries", pages, func(p *ec2.GetManagedPrefixListEntriesOutput) []types.PrefixListEntry { return p.Entries })
	for _, e := range described {
		if p, err := netip.ParsePrefix(aws.ToString(e.Cidr)); err == nil {
			entries = append(entries, p.Masked())
		}
	}
	return entries, err
}
