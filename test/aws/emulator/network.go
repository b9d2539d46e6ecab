// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
)

// createVPC creates the VPC, and in each of three zones a private subnet with its
// own route table.
func (c *Customer) createVPC(ctx context.Context) error {
	vpc, err := c.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(vpcCIDR)})
	if err != nil {
		return err
	}
	c.VPC = *vpc.Vpc.VpcId
	if err := c.setDNS(ctx, true, true); err != nil {
		return err
	}
	if err := c.setNameServer(ctx, "AmazonProvidedDNS"); err != nil { // the default of AWS
		return err
	}
	for i, zone := range []string{"a", "b", "c"} {
		subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: &c.VPC, AvailabilityZone: aws.String(c.Region + zone), CidrBlock: aws.String(fmt.Sprintf("10.0.%d.0/24", i+1)),
			TagSpecifications: tagSpecifications(types.ResourceTypeSubnet, "cast.ai/routable", "true"),
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

// setDNS sets both DNS attributes of the VPC. A request can set only one.
func (c *Customer) setDNS(ctx context.Context, support, hostnames bool) error {
	if _, err := c.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &c.VPC, EnableDnsSupport: &types.AttributeBooleanValue{Value: &support}}); err != nil {
		return err
	}
	_, err := c.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &c.VPC, EnableDnsHostnames: &types.AttributeBooleanValue{Value: &hostnames}})
	return err
}

// setNameServer sets the DNS server of the nodes.
func (c *Customer) setNameServer(ctx context.Context, server string) error {
	set, err := c.ec2.CreateDhcpOptions(ctx, &ec2.CreateDhcpOptionsInput{DhcpConfigurations: []types.NewDhcpConfiguration{{Key: aws.String("domain-name-servers"), Values: []string{server}}}})
	if err != nil {
		return err
	}
	_, err = c.ec2.AssociateDhcpOptions(ctx, &ec2.AssociateDhcpOptionsInput{VpcId: &c.VPC, DhcpOptionsId: set.DhcpOptions.DhcpOptionsId})
	return err
}

func (c *Customer) createEndpoint(ctx context.Context, name, service, kind string) error {
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

func (c *Customer) modifyEndpoint(ctx context.Context, name string, in ec2.ModifyVpcEndpointInput) error {
	in.VpcEndpointId = aws.String(c.Endpoints[name])
	_, err := c.ec2.ModifyVpcEndpoint(ctx, &in)
	return err
}

// setPolicy replaces the policy of an endpoint.
func (c *Customer) setPolicy(ctx context.Context, name string, statements ...statement) error {
	text := policyDocument(statements...)
	return c.modifyEndpoint(ctx, name, ec2.ModifyVpcEndpointInput{PolicyDocument: &text})
}

// createOrganization makes the account that of an organization, and returns its ID.
func (c *Customer) createOrganization(ctx context.Context) error {
	out, err := organizations.NewFromConfig(c.sdkConfig("test", "test", "")).CreateOrganization(ctx, &organizations.CreateOrganizationInput{})
	if err != nil {
		return err
	}
	c.Organization = *out.Organization.Id
	return nil
}

// createSecurityGroup creates a security group without ingress rules.
func (c *Customer) createSecurityGroup(ctx context.Context, name string) (string, error) {
	out, err := c.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: &c.VPC, GroupName: &name, Description: &name})
	if err != nil {
		return "", err
	}
	return *out.GroupId, nil
}

func tcpFromCIDR(port int32, cidr string) types.IpPermission {
	return types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, IpRanges: []types.IpRange{{CidrIp: &cidr}}}
}

func tcpFromGroup(port int32, group string) types.IpPermission {
	return types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port, UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &group}}}
}

func allFromGroup(group string) types.IpPermission {
	return types.IpPermission{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &group}}}
}

// allow adds an ingress rule to a security group.
func (c *Customer) allow(ctx context.Context, group string, p types.IpPermission) error {
	_, err := c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{p}})
	return err
}

// revoke removes an ingress rule from a security group.
func (c *Customer) revoke(ctx context.Context, group string, p types.IpPermission) error {
	_, err := c.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{p}})
	return err
}

// revokeAllEgress removes all egress rules from a security group.
func (c *Customer) revokeAllEgress(ctx context.Context, group string) error {
	out, err := c.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	if err != nil {
		return err
	}
	_, err = c.ec2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: &group, IpPermissions: out.SecurityGroups[0].IpPermissionsEgress})
	return err
}

// addPublicSubnets adds a subnet with a route to the internet, without a tag, to the
// cluster.
func (c *Customer) addPublicSubnets(ctx context.Context) error {
	subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &c.VPC, AvailabilityZone: aws.String(c.Region + "d"), CidrBlock: aws.String("10.0.101.0/24")})
	if err != nil {
		return err
	}
	table, err := c.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &c.VPC})
	if err != nil {
		return err
	}
	id := subnet.Subnet.SubnetId
	if _, err := c.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: table.RouteTable.RouteTableId, SubnetId: id}); err != nil {
		return err
	}
	if err := c.routeToInternet(ctx, *table.RouteTable.RouteTableId); err != nil {
		return err
	}
	_, err = c.eks.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: &c.Cluster, ResourcesVpcConfig: &ekstypes.VpcConfigRequest{SubnetIds: append(slices.Clone(c.Subnets), *id)}})
	return err
}

// routeToInternet adds a default route to a new internet gateway.
func (c *Customer) routeToInternet(ctx context.Context, table string) error {
	gateway, err := c.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	if err != nil {
		return err
	}
	id := gateway.InternetGateway.InternetGatewayId
	if _, err := c.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: id, VpcId: &c.VPC}); err != nil {
		return err
	}
	_, err = c.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: &table, GatewayId: id, DestinationCidrBlock: aws.String("0.0.0.0/0")})
	return err
}

func (c *Customer) setTag(ctx context.Context, id, key, value string) error {
	_, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: &key, Value: &value}}})
	return err
}

func tagSpecifications(of types.ResourceType, key, value string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: of, Tags: []types.Tag{{Key: &key, Value: &value}}}}
}
