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

// vpc is the VPC that is checked.
type vpc struct {
	id, name, owner, dhcpOptions string
	// blocks are the ranges of both families.
	blocks []netip.Prefix
}

func newVPC(v types.Vpc) vpc {
	n := vpc{id: aws.ToString(v.VpcId), owner: aws.ToString(v.OwnerId), dhcpOptions: aws.ToString(v.DhcpOptionsId)}
	add := func(cidr *string) {
		if p, err := netip.ParsePrefix(aws.ToString(cidr)); err == nil && !slices.Contains(n.blocks, p) {
			n.blocks = append(n.blocks, p)
		}
	}
	add(v.CidrBlock)
	for _, t := range v.Tags {
		if aws.ToString(t.Key) == "Name" {
			n.name = aws.ToString(t.Value)
		}
	}
	for _, a := range v.CidrBlockAssociationSet {
		add(a.CidrBlock)
	}
	for _, a := range v.Ipv6CidrBlockAssociationSet {
		add(a.Ipv6CidrBlock)
	}
	return n
}

// blockOf returns the block of the VPC that a subnet is in, or the subnet's own one.
func (v vpc) blockOf(subnet netip.Prefix) netip.Prefix {
	for _, b := range v.blocks {
		if b.Bits() <= subnet.Bits() && b.Contains(subnet.Addr()) {
			return b
		}
	}
	return subnet
}

// vpcNotFound are the error codes of EC2 for a VPC that does not exist.
var vpcNotFound = []string{"InvalidVpcID.NotFound", "InvalidVpcId.NotFound", "InvalidVpcID.Malformed", "InvalidParameterValue"}

func (c *checker) vpc(ctx context.Context) (vpc, error) {
	return c.vpcOnce.Get(ctx, func(ctx context.Context) (vpc, error) {
		id, err := c.vpcID(ctx)
		if err != nil {
			return vpc{}, err
		}
		out, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
		if err == nil && len(out.Vpcs) == 0 {
			err = fmt.Errorf("EC2 returned no VPC %s", id)
		}
		if err != nil {
			return vpc{}, awsapi.NewError("ec2:DescribeVpcs", err)
		}
		return newVPC(out.Vpcs[0]), nil
	})
}

// checkInput returns the finding for a VPC or subnets that do not exist or do not
// belong together, and false if there is no such fault.
func (c *checker) checkInput(ctx context.Context) (f doctor.Finding, isWrong bool, err error) {
	if _, err := c.vpc(ctx); slices.Contains(vpcNotFound, awsapi.Code(err)) {
		return doctor.Failf("aws ec2 describe-vpcs --region "+c.region+"\nname another one with --vpc, or another --region", "there is no VPC %s in %s", c.VPC, c.region), true, nil
	} else if err != nil {
		return f, false, err
	}
	if c.VPC != "" && c.Cluster != "" {
		cluster, err := c.cluster(ctx)
		if err != nil {
			return f, false, err
		}
		if cluster.vpc != c.VPC {
			return doctor.Failf("omit --vpc, or name another --eks-cluster", "cluster %s is in %s, not in %s", c.Cluster, cluster.vpc, c.VPC), true, nil
		}
	}
	return c.checkSubnetIDs(ctx)
}

// checkSubnetIDs returns the finding for configured subnets that are not in the VPC.
func (c *checker) checkSubnetIDs(ctx context.Context) (f doctor.Finding, isWrong bool, err error) {
	id, err := c.vpcID(ctx)
	if err != nil || len(c.Subnets) == 0 {
		return f, false, err
	}
	pages := ec2.NewDescribeSubnetsPaginator(c.ec2, &ec2.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("subnet-id"), Values: c.Subnets}}})
	described, err := awsapi.Collect(ctx, "ec2:DescribeSubnets", pages, func(p *ec2.DescribeSubnetsOutput) []types.Subnet { return p.Subnets })
	if err != nil {
		return f, false, err
	}
	vpcOf := map[string]string{}
	for _, s := range described {
		vpcOf[aws.ToString(s.SubnetId)] = aws.ToString(s.VpcId)
	}
	var wrong []string
	for _, s := range c.Subnets {
		switch vpcOf[s] {
		case id:
		case "":
			wrong = append(wrong, fmt.Sprintf("%s does not exist in %s", s, c.region))
		default:
			wrong = append(wrong, fmt.Sprintf("%s is in %s", s, vpcOf[s]))
		}
	}
	if len(wrong) == 0 {
		return f, false, nil
	}
	return doctor.Failf(fmt.Sprintf("aws ec2 describe-subnets --region %s --filters Name=vpc-id,Values=%s\nname subnets of %s with --subnet", c.region, id, id),
		"not in %s: %s", id, doctor.List(wrong, 4)).With(wrong...), true, nil
}

// routeTable has the routes of one or more subnets, as far as checks need them.
type routeTable struct {
	id string
	// internet are the routes to all addresses whose target is a gateway of the
	// internet.
	internet []internetRoute
}

type internetRoute struct{ table, destination, target string }

func (r internetRoute) String() string { return r.table + ": " + r.destination + " to " + r.target }

// isPublic reports whether other hosts can connect by the route as well.
func (r internetRoute) isPublic() bool { return strings.HasPrefix(r.target, "igw-") }

func newRouteTable(t types.RouteTable) routeTable {
	n := routeTable{id: aws.ToString(t.RouteTableId)}
	for _, r := range t.Routes {
		destination := aws.ToString(r.DestinationCidrBlock) + aws.ToString(r.DestinationIpv6CidrBlock)
		target := aws.ToString(r.NatGatewayId) + aws.ToString(r.EgressOnlyInternetGatewayId)
		if strings.HasPrefix(aws.ToString(r.GatewayId), "igw-") {
			target = *r.GatewayId
		}
		if target != "" && r.State != types.RouteStateBlackhole && isDefault(destination) {
			n.internet = append(n.internet, internetRoute{n.id, destination, target})
		}
	}
	return n
}

// isDefault reports whether a destination is all addresses, or a half of them.
func isDefault(destination string) bool {
	p, err := netip.ParsePrefix(destination)
	return err == nil && p.Bits() <= 1
}

// routing has route tables by subnet. The main route table, which applies to all other
// subnets, has the key "".
type routing map[string]routeTable

func (r routing) of(s subnet) routeTable {
	if t, ok := r[s.id]; ok {
		return t
	}
	return r[""]
}

// isPublic reports whether a subnet has a route to an internet gateway.
func (r routing) isPublic(s subnet) bool {
	return slices.ContainsFunc(r.of(s).internet, internetRoute.isPublic)
}

// tablesOf returns the IDs of the route tables of subnets, sorted, each once.
func (r routing) tablesOf(subnets []subnet) (ids []string) {
	for _, s := range subnets {
		ids = append(ids, r.of(s).id)
	}
	return doctor.Distinct(ids)
}

func (c *checker) routing(ctx context.Context) (routing, error) {
	return c.routingOnce.Get(ctx, func(ctx context.Context) (routing, error) {
		filter, err := c.vpcFilter(ctx)
		if err != nil {
			return nil, err
		}
		pages := ec2.NewDescribeRouteTablesPaginator(c.ec2, &ec2.DescribeRouteTablesInput{Filters: filter})
		described, err := awsapi.Collect(ctx, "ec2:DescribeRouteTables", pages, func(p *ec2.DescribeRouteTablesOutput) []types.RouteTable { return p.RouteTables })
		tables := routing{}
		for _, t := range described {
			for _, a := range t.Associations {
				if a.SubnetId != nil || aws.ToBool(a.Main) {
					tables[aws.ToString(a.SubnetId)] = newRouteTable(t)
				}
			}
		}
		return tables, err
	})
}
