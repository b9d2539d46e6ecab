// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Variation is another way of having all that is needed. Nothing may be found.
type Variation struct {
	Name   string
	Change func(context.Context, *Customer) error
}

// Variations are those of network and identity.
func Variations() []Variation {
	return []Variation{
		{"the endpoints let the nodes in by their security group", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.EndpointSG, permission(443, vpcCIDR)); err != nil {
				return err
			}
			return c.let(ctx, c.EndpointSG, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &c.ClusterSG}}})
		}},
		{"the endpoints let each subnet in", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.EndpointSG, permission(443, vpcCIDR)); err != nil {
				return err
			}
			for _, cidr := range []string{"10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/25", "10.0.3.128/25"} {
				if err := c.letIn(ctx, c.EndpointSG, 443, cidr); err != nil {
					return err
				}
			}
			return nil
		}},
		{"the endpoints let a prefix list in", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.EndpointSG, permission(443, vpcCIDR)); err != nil {
				return err
			}
			list, err := c.ec2.CreateManagedPrefixList(ctx, &ec2.CreateManagedPrefixListInput{
				AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(1), PrefixListName: aws.String("ours"), Entries: []types.AddPrefixListEntry{{Cidr: aws.String(vpcCIDR)}},
			})
			if err != nil {
				return err
			}
			return c.let(ctx, c.EndpointSG, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(0), ToPort: aws.Int32(1024), PrefixListIds: []types.PrefixListId{{PrefixListId: list.PrefixList.PrefixListId}}})
		}},
		{"the control plane reaches one port of the nodes", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.ClusterSG, all(c.ClusterSG)); err != nil {
				return err
			}
			return c.let(ctx, c.ClusterSG, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(webhookPort), ToPort: aws.Int32(webhookPort), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &c.ClusterSG}}})
		}},
		{"nodes let the port in by address", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.ClusterSG, all(c.ClusterSG)); err != nil {
				return err
			}
			return c.letIn(ctx, c.ClusterSG, webhookPort, vpcCIDR)
		}},
		{"nodes have a security group of their own", func(ctx context.Context, c *Customer) error {
			group, err := c.group(ctx, "own")
			if err != nil {
				return err
			}
			if err := c.let(ctx, group, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(webhookPort), ToPort: aws.Int32(webhookPort), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &c.ClusterSG}}}); err != nil {
				return err
			}
			return c.move(ctx, c.Nodes[1], group)
		}},
		{"the route to S3 is in the main route table", func(ctx context.Context, c *Customer) error {
			tables, err := c.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{c.VPC}}}})
			if err != nil {
				return err
			}
			for _, t := range tables.RouteTables {
				for _, a := range t.Associations {
					if aws.ToBool(a.Main) {
						if err := c.modify(ctx, "s3", ec2.ModifyVpcEndpointInput{AddRouteTableIds: []string{*t.RouteTableId}}); err != nil {
							return err
						}
					}
					if aws.ToString(a.SubnetId) == c.Subnets[0] {
						if _, err := c.ec2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: a.RouteTableAssociationId}); err != nil {
							return err
						}
					}
				}
			}
			return nil
		}},
		{"the S3 endpoint lets ECR's bucket through and no other", func(ctx context.Context, c *Customer) error {
			text := document(statement{Effect: "Allow", Principal: "*", Action: []string{"s3:GetObject"}, Resource: []string{"arn:aws:s3:::prod-" + c.Region + "-starport-layer-bucket/*"}})
			return c.modify(ctx, "s3", ec2.ModifyVpcEndpointInput{PolicyDocument: &text})
		}},
		{"a rejected endpoint is left beside the one that works", func(ctx context.Context, c *Customer) error {
			works := c.Endpoints["api"]
			defer func() { c.Endpoints["api"] = works }()
			if err := c.endpoint(ctx, "api", c.serviceNames["api"], "Interface"); err != nil {
				return err
			}
			return c.tag(ctx, c.Endpoints["api"], "test:state", "rejected")
		}},
		{"who mirrors may do so by a group", func(ctx context.Context, c *Customer) error {
			if _, err := c.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &c.User, PolicyName: aws.String(policyName)}); err != nil {
				return err
			}
			if _, err := c.iam.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("platform")}); err != nil {
				return err
			}
			text := document(statement{Effect: "Allow", Action: []string{"ecr:*"}, Resource: []string{"*"}})
			if _, err := c.iam.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: aws.String("platform"), PolicyName: aws.String("ecr"), PolicyDocument: &text}); err != nil {
				return err
			}
			_, err := c.iam.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("platform"), UserName: &c.User})
			return err
		}},
		{"who mirrors has a role with a path", func(ctx context.Context, c *Customer) error { return c.assume(ctx) }},
	}
}

// assume makes a session of a role the one who mirrors. Its ARN lacks the path.
func (c *Customer) assume(ctx context.Context) error {
	trust := document(statement{Effect: "Allow", Principal: map[string]string{"AWS": Account}, Action: []string{"sts:AssumeRole"}})
	role, err := c.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("mirror"), Path: aws.String("/platform/"), AssumeRolePolicyDocument: &trust})
	if err != nil {
		return err
	}
	text := document(statement{Effect: "Allow", Action: []string{"ecr:*"}, Resource: []string{"*"}})
	if _, err := c.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: role.Role.RoleName, PolicyName: aws.String("ecr"), PolicyDocument: &text}); err != nil {
		return err
	}
	out, err := sts.NewFromConfig(c.AWS).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Role.Arn, RoleSessionName: aws.String("ci")})
	if err != nil {
		return err
	}
	c.key, c.secret, c.session = *out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken
	c.AWS = c.config(c.key, c.secret, c.session)
	return nil
}

func (c *Customer) let(ctx context.Context, group string, p types.IpPermission) error {
	_, err := c.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{p}})
	return err
}
