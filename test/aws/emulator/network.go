// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
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

// replaceRules gives a security group ingress rules in place of one.
func (c *Customer) replaceRules(ctx context.Context, group string, old types.IpPermission, rules ...types.IpPermission) error {
	if err := c.revoke(ctx, group, old); err != nil {
		return err
	}
	for _, rule := range rules {
		if err := c.allow(ctx, group, rule); err != nil {
			return err
		}
	}
	return nil
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

// OtherSubnet creates a subnet of another VPC, and returns its ID.
func (c *Customer) OtherSubnet(ctx context.Context) (string, error) {
	vpc, err := c.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(vpcCIDR)})
	if err != nil {
		return "", err
	}
	subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24"), AvailabilityZone: aws.String(c.Region + "a")})
	if err != nil {
		return "", err
	}
	return *subnet.Subnet.SubnetId, nil
}

// setNodeEgress gives the nodes a group of their own, with these egress rules.
func (c *Customer) setNodeEgress(ctx context.Context, rules ...types.IpPermission) error {
	group, err := c.createSecurityGroup(ctx, "own")
	if err != nil {
		return err
	}
	if err := errors.Join(c.allow(ctx, group, tcpFromGroup(webhookPort, c.ClusterSG)), c.revokeAllEgress(ctx, group)); err != nil {
		return err
	}
	if _, err := c.ec2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &group, IpPermissions: rules}); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := c.setSecurityGroup(ctx, n, group); err != nil {
			return err
		}
	}
	return nil
}

// podCIDR is the secondary range of the VPC, for pods.
const podCIDR = "100.64.0.0/16"

// addPodSubnets adds the secondary range, and a subnet in it for each zone. The subnets
// have no tag and no node.
func (c *Customer) addPodSubnets(ctx context.Context) error {
	if _, err := c.ec2.AssociateVpcCidrBlock(ctx, &ec2.AssociateVpcCidrBlockInput{VpcId: &c.VPC, CidrBlock: aws.String(podCIDR)}); err != nil {
		return err
	}
	for i, zone := range []string{"a", "b", "c"} {
		subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &c.VPC, AvailabilityZone: aws.String(c.Region + zone), CidrBlock: aws.String(fmt.Sprintf("100.64.%d.0/19", i*32))})
		if err != nil {
			return err
		}
		if _, err := c.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: &c.RouteTables[i], SubnetId: subnet.Subnet.SubnetId}); err != nil {
			return err
		}
	}
	return nil
}

// aclEntry is a rule of a network ACL.
type aclEntry struct {
	number   int32
	isOut    bool
	isAllow  bool
	protocol string
	from, to int32
	cidr     string
}

// setACL gives a subnet a new network ACL with these rules, and one that denies the rest.
func (c *Customer) setACL(ctx context.Context, subnet string, entries ...aclEntry) error {
	acl, err := c.ec2.CreateNetworkAcl(ctx, &ec2.CreateNetworkAclInput{VpcId: &c.VPC})
	if err != nil {
		return err
	}
	id := acl.NetworkAcl.NetworkAclId
	for _, e := range entries {
		in := &ec2.CreateNetworkAclEntryInput{NetworkAclId: id, RuleNumber: &e.number, Egress: &e.isOut, RuleAction: types.RuleActionDeny, CidrBlock: &e.cidr, Protocol: aws.String("-1")}
		if e.isAllow {
			in.RuleAction = types.RuleActionAllow
		}
		if e.protocol == "tcp" {
			in.Protocol, in.PortRange = aws.String("6"), &types.PortRange{From: &e.from, To: &e.to}
		}
		if _, err := c.ec2.CreateNetworkAclEntry(ctx, in); err != nil {
			return err
		}
	}
	acls, err := c.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{subnet}}}})
	if err != nil {
		return err
	}
	for _, a := range acls.NetworkAcls[0].Associations {
		if *a.SubnetId == subnet {
			_, err = c.ec2.ReplaceNetworkAclAssociation(ctx, &ec2.ReplaceNetworkAclAssociationInput{AssociationId: a.NetworkAclAssociationId, NetworkAclId: id})
			return err
		}
	}
	return errors.New("no association of " + subnet)
}

// createZone creates a private zone of the VPC and another one, with records.
func (c *Customer) createZone(ctx context.Context, name string, records ...string) error {
	client := route53.NewFromConfig(c.sdkConfig("test", "test", ""))
	other, err := c.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	if err != nil {
		return err
	}
	// AWS keeps the last VPC of a private zone, so there is another one.
	vpc := func(id *string) *r53types.VPC {
		return &r53types.VPC{VPCId: id, VPCRegion: r53types.VPCRegion(c.Region)}
	}
	zone, err := client.CreateHostedZone(ctx, &route53.CreateHostedZoneInput{Name: &name, CallerReference: &name, VPC: vpc(other.Vpc.VpcId), HostedZoneConfig: &r53types.HostedZoneConfig{PrivateZone: true}})
	if err != nil {
		return err
	}
	if _, err := client.AssociateVPCWithHostedZone(ctx, &route53.AssociateVPCWithHostedZoneInput{HostedZoneId: zone.HostedZone.Id, VPC: vpc(&c.VPC)}); err != nil {
		return err
	}
	for _, r := range records {
		set := &r53types.ResourceRecordSet{Name: &r, Type: r53types.RRTypeA, TTL: aws.Int64(60), ResourceRecords: []r53types.ResourceRecord{{Value: aws.String("10.0.1.9")}}}
		if _, err := client.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: zone.HostedZone.Id, ChangeBatch: &r53types.ChangeBatch{Changes: []r53types.Change{{Action: r53types.ChangeActionCreate, ResourceRecordSet: set}}}}); err != nil {
			return err
		}
	}
	return nil
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
