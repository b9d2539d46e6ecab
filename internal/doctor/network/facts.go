// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// checker gathers facts from AWS. Those that several checks need are read once.
type checker struct {
	Config
	region string
	ec2    *ec2.Client
	eks    *eks.Client

	clusterOnce        doctor.Once[cluster]
	nodesOnce          doctor.Once[[]node]
	vpcSubnetsOnce     doctor.Once[[]subnet]
	subnetsOnce        doctor.Once[[]subnet]
	endpointsOnce      doctor.Once[[]endpoint]
	securityGroupsOnce doctor.Once[map[string]types.SecurityGroup]
}

func (c *checker) cluster(ctx context.Context) (cluster, error) {
	return c.clusterOnce.Get(ctx, func(ctx context.Context) (cluster, error) {
		out, err := c.eks.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &c.Cluster})
		if err == nil && out.Cluster.ResourcesVpcConfig == nil {
			err = fmt.Errorf("cluster %s has no VPC", c.Cluster)
		}
		if err != nil {
			return cluster{}, awsapi.NewError("eks:DescribeCluster", err)
		}
		return newCluster(out.Cluster), nil
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

// subnets returns the subnets that are checked: the configured ones, or else those
// of the control plane and the nodes, or else all of the VPC.
func (c *checker) subnets(ctx context.Context) ([]subnet, error) {
	return c.subnetsOnce.Get(ctx, func(ctx context.Context) ([]subnet, error) {
		subnets, err := c.vpcSubnets(ctx)
		if err != nil {
			return nil, err
		}
		ids := c.Subnets
		if len(ids) == 0 && c.Cluster != "" {
			cluster, err := c.cluster(ctx)
			if err != nil {
				return nil, err
			}
			nodes, err := c.nodes(ctx)
			if err != nil {
				return nil, err
			}
			ids = slices.Clone(cluster.subnets)
			for _, n := range nodes {
				for _, i := range n.interfaces {
					ids = append(ids, i.subnet)
				}
			}
		}
		if len(ids) > 0 {
			subnets = filter(subnets, func(s subnet) bool { return slices.Contains(ids, s.id) })
		}
		if len(subnets) == 0 {
			return nil, awsapi.NewError("ec2:DescribeSubnets", fmt.Errorf("the VPC has none of the subnets %s", doctor.List(ids, 5)))
		}
		return subnets, nil
	})
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
	pages := ec2.NewGetManagedPrefixListEntriesPaginator(c.ec2, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id})
	described, err := awsapi.Collect(ctx, "ec2:GetManagedPrefixListEntries", pages, func(p *ec2.GetManagedPrefixListEntriesOutput) []types.PrefixListEntry { return p.Entries })
	for _, e := range described {
		if p, err := netip.ParsePrefix(aws.ToString(e.Cidr)); err == nil {
			entries = append(entries, p.Masked())
		}
	}
	return entries, err == nil
}

// routeTables returns the IDs of route tables by subnet. The main route table,
// which applies to all other subnets, has the key "".
func (c *checker) routeTables(ctx context.Context) (map[string]string, error) {
	filter, err := c.vpcFilter(ctx)
	if err != nil {
		return nil, err
	}
	pages := ec2.NewDescribeRouteTablesPaginator(c.ec2, &ec2.DescribeRouteTablesInput{Filters: filter})
	described, err := awsapi.Collect(ctx, "ec2:DescribeRouteTables", pages, func(p *ec2.DescribeRouteTablesOutput) []types.RouteTable { return p.RouteTables })
	tables := map[string]string{}
	for _, t := range described {
		for _, a := range t.Associations {
			if a.SubnetId != nil || aws.ToBool(a.Main) {
				tables[aws.ToString(a.SubnetId)] = aws.ToString(t.RouteTableId)
			}
		}
	}
	return tables, err
}
