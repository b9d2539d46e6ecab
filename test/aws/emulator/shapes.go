// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// Shapes returns the networks of healthy customers.
func Shapes() []Variation {
	return []Variation{
		{"three zones", func(context.Context, *Customer) error { return nil }},
		{"one zone, and a control plane in two", oneZone},
		{"a secondary range for pods", func(ctx context.Context, c *Customer) error {
			if err := errors.Join(c.addPodSubnets(ctx), c.allow(ctx, c.EndpointSG, tcpFromCIDR(443, podCIDR))); err != nil {
				return err
			}
			return c.addPodInterface(ctx, c.Nodes[0])
		}},
		{"IPv6 and dual stack", dualStack},
		{"two clusters in a VPC", func(ctx context.Context, c *Customer) error { return c.AddCluster(ctx, "staging") }},
	}
}

// oneZone leaves nodes and endpoints in the first zone only. The control plane has to
// have subnets in two.
func oneZone(ctx context.Context, c *Customer) error {
	if _, err := c.eks.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: &c.Cluster, NodegroupName: aws.String("workers")}); err != nil {
		return err
	}
	if err := c.createNodeGroup(ctx, c.Cluster, c.Subnets[:1]); err != nil {
		return err
	}
	if _, err := c.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: c.Nodes[1:]}); err != nil {
		return err
	}
	for name := range c.Endpoints {
		if name == "s3" {
			continue
		}
		if err := c.modifyEndpoint(ctx, name, ec2.ModifyVpcEndpointInput{RemoveSubnetIds: c.Subnets[1:]}); err != nil {
			return err
		}
	}
	_, err := c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: c.Subnets[1:], Tags: []types.Tag{{Key: aws.String("cast.ai/routable")}}})
	return err
}

// addPodInterface gives a node a network interface for pods in a subnet of podCIDR, with
// the security group of the nodes.
func (c *Customer) addPodInterface(ctx context.Context, node string) error {
	subnets, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("cidr-block"), Values: []string{"100.64.0.0/19"}}}})
	if err != nil {
		return err
	}
	created, err := c.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: subnets.Subnets[0].SubnetId, Groups: []string{c.ClusterSG}})
	if err != nil {
		return err
	}
	_, err = c.ec2.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{InstanceId: &node, NetworkInterfaceId: created.NetworkInterface.NetworkInterfaceId, DeviceIndex: aws.Int32(1)})
	return err
}

// dualStack gives the VPC, its subnets and the pods IPv6. AWS adds the rules to the default
// network ACL and to the cluster security group by itself; moto does not.
func dualStack(ctx context.Context, c *Customer) error {
	if _, err := c.ec2.AssociateVpcCidrBlock(ctx, &ec2.AssociateVpcCidrBlockInput{VpcId: &c.VPC, AmazonProvidedIpv6CidrBlock: aws.Bool(true)}); err != nil {
		return err
	}
	vpcs, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{c.VPC}})
	if err != nil {
		return err
	}
	block, err := netip.ParsePrefix(*vpcs.Vpcs[0].Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock)
	if err != nil {
		return err
	}
	for i, s := range c.Subnets {
		address := block.Masked().Addr().As16()
		address[7] = byte(i)
		if _, err := c.ec2.AssociateSubnetCidrBlock(ctx, &ec2.AssociateSubnetCidrBlockInput{SubnetId: &s, Ipv6CidrBlock: aws.String(netip.PrefixFrom(netip.AddrFrom16(address), 64).String())}); err != nil {
			return err
		}
	}
	acls, err := c.ec2.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{c.VPC}}}})
	if err != nil {
		return err
	}
	for _, isOut := range []bool{false, true} {
		if _, err := c.ec2.CreateNetworkAclEntry(ctx, &ec2.CreateNetworkAclEntryInput{NetworkAclId: acls.NetworkAcls[0].NetworkAclId, RuleNumber: aws.Int32(101), Egress: &isOut, RuleAction: types.RuleActionAllow, Protocol: aws.String("-1"), Ipv6CidrBlock: aws.String("::/0")}); err != nil {
			return err
		}
	}
	if _, err := c.ec2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &c.ClusterSG, IpPermissions: []types.IpPermission{{IpProtocol: aws.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}}}}); err != nil {
		return err
	}
	_, err = c.eks.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: &c.Cluster, KubernetesNetworkConfig: &ekstypes.KubernetesNetworkConfigRequest{IpFamily: ekstypes.IpFamilyIpv6}})
	return err
}

// AddCluster adds a cluster with subnets, nodes and a pod range of its own to the VPC. It
// uses the same endpoints.
func (c *Customer) AddCluster(ctx context.Context, name string) error {
	other := *c
	other.Cluster, other.Subnets, other.Nodes = name, nil, nil
	for i, zone := range []string{"a", "b"} {
		subnet, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: &c.VPC, AvailabilityZone: aws.String(c.Region + zone), CidrBlock: aws.String(fmt.Sprintf("10.0.%d.0/24", i+11)), TagSpecifications: tagSpecifications(types.ResourceTypeSubnet, "cast.ai/routable", "true"),
		})
		if err != nil {
			return err
		}
		if _, err := c.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: &c.RouteTables[i], SubnetId: subnet.Subnet.SubnetId}); err != nil {
			return err
		}
		other.Subnets = append(other.Subnets, *subnet.Subnet.SubnetId)
	}
	// Pods of this cluster alone: the endpoints need not admit them for the first one.
	if _, err := c.ec2.AssociateVpcCidrBlock(ctx, &ec2.AssociateVpcCidrBlockInput{VpcId: &c.VPC, CidrBlock: aws.String(podCIDR)}); err != nil {
		return err
	}
	if _, err := c.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{
		VpcId: &c.VPC, AvailabilityZone: aws.String(c.Region + "a"), CidrBlock: aws.String("100.64.0.0/19"), TagSpecifications: tagSpecifications(types.ResourceTypeSubnet, "kubernetes.io/cluster/"+name, "shared"),
	}); err != nil {
		return err
	}
	return errors.Join(other.createCluster(ctx), other.createNodes(ctx))
}
