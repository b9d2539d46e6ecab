// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// network makes the VPC: a private subnet with a route table of its own in each
// of three zones.
func (c *Customer) network(ctx context.Context) error {
	vpc, err := c.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(vpcCIDR)})
	if err != nil {
		return err
	}
	c.VPC = *vpc.Vpc.VpcId
	if err := c.dns(ctx, true, true); err != nil {
		return err
	}
	if err := c.resolver(ctx, "AmazonProvidedDNS"); err != nil { // AWS gives this to each
		return err
	}
	for i, zone := range []string{"a", "b", "c"} {
		subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: &c.VPC, AvailabilityZone: aws.String(c.Region + zone), CidrBlock: aws.String(fmt.Sprintf("10.0.%d.0/24", i+1)),
			TagSpecifications: tags(types.ResourceTypeSubnet, "cast.ai/routable", "true"),
		})
		if err != nil {
			return err
		}
		table, err := c.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &c.VPC})
		if err != nil {
			return err
		}
		if _, err := c.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: table.RouteTable.RouteTableId, SubnetId: subnet.Subnet.SubnetId}); err != nil {
			return err
		}
		c.Subnets, c.RouteTables = append(c.Subnets, *subnet.Subnet.SubnetId), append(c.RouteTables, *table.RouteTable.RouteTableId)
	}
	return nil
}

// dns sets the two attributes of the VPC. A request sets one of them.
func (c *Customer) dns(ctx context.Context, support, hostnames bool) error {
	if _, err := c.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &c.VPC, EnableDnsSupport: &types.AttributeBooleanValue{Value: &support}}); err != nil {
		return err
	}
	_, err := c.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &c.VPC, EnableDnsHostnames: &types.AttributeBooleanValue{Value: &hostnames}})
	return err
}

// resolver sets whom nodes ask for names.
func (c *Customer) resolver(ctx context.Context, server string) error {
	set, err := c.ec2.CreateDhcpOptions(ctx, &ec2.CreateDhcpOptionsInput{DhcpConfigurations: []types.NewDhcpConfiguration{{Key: aws.String("domain-name-servers"), Values: []string{server}}}})
	if err != nil {
		return err
	}
	_, err = c.ec2.AssociateDhcpOptions(ctx, &ec2.AssociateDhcpOptionsInput{VpcId: &c.VPC, DhcpOptionsId: set.DhcpOptions.DhcpOptionsId})
	return err
}

func (c *Customer) endpoint(ctx context.Context, name, service, kind string) error {
	in := &ec2.CreateVpcEndpointInput{VpcId: &c.VPC, ServiceName: &service, VpcEndpointType: types.VpcEndpointType(kind)}
	if in.VpcEndpointType == types.VpcEndpointTypeGateway {
		in.RouteTableIds = c.RouteTables
	} else {
		in.SubnetIds, in.SecurityGroupIds, in.PrivateDnsEnabled = c.Subnets, []string{c.EndpointSG}, aws.Bool(true)
	}
	out, err := c.ec2.CreateVpcEndpoint(ctx, in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.Endpoints[name], c.serviceNames[name] = *out.VpcEndpoint.VpcEndpointId, service
	return nil
}

func (c *Customer) modify(ctx context.Context, name string, in ec2.ModifyVpcEndpointInput) error {
	in.VpcEndpointId = aws.String(c.Endpoints[name])
	_, err := c.ec2.ModifyVpcEndpoint(ctx, &in)
	return err
}

// group makes a security group that lets nobody in.
func (c *Customer) group(ctx context.Context, name string) (string, error) {
	out, err := c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &c.VPC, GroupName: &name, Description: &name})
	if err != nil {
		return "", err
	}
	return *out.GroupId, nil
}

func permission(port int32, cidr string) []types.IpPermission {
	return []types.IpPermission{{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []types.IpRange{{CidrIp: &cidr}}}}
}

func (c *Customer) letIn(ctx context.Context, group string, port int32, cidr string) error {
	_, err := c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: permission(port, cidr)})
	return err
}

func (c *Customer) keepOut(ctx context.Context, group string, p []types.IpPermission) error {
	_, err := c.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: p})
	return err
}

// all is the rule by which a security group lets in who has it as well.
func all(group string) []types.IpPermission {
	return []types.IpPermission{{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &group}}}}
}

func (c *Customer) tag(ctx context.Context, id, key, value string) error {
	_, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: &key, Value: &value}}})
	return err
}

func tags(of types.ResourceType, key, value string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: of, Tags: []types.Tag{{Key: &key, Value: &value}}}}
}
