// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Variation is another healthy account, in which no check may fail.
type Variation struct {
	Name string
	// Change turns an account that NewCustomer made into this one.
	Change func(context.Context, *Customer) error
}

// Variations returns those of network and identity.
func Variations() []Variation {
	return slices.Concat(reachVariations(), policyVariations(), nameVariations(), callerVariations())
}

// reachVariations are of security groups, routes and network ACLs.
func reachVariations() []Variation {
	return []Variation{
		{"the endpoints allow the security group of the nodes", func(ctx context.Context, c *Customer) error {
			return c.replaceRules(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR), tcpFromGroup(443, c.ClusterSG))
		}},
		{"the endpoints allow each subnet", func(ctx context.Context, c *Customer) error {
			return c.replaceRules(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR), tcpFromCIDR(443, "10.0.1.0/24"), tcpFromCIDR(443, "10.0.2.0/24"), tcpFromCIDR(443, "10.0.3.0/25"), tcpFromCIDR(443, "10.0.3.128/25"))
		}},
		{"the endpoints allow a prefix list", func(ctx context.Context, c *Customer) error { return c.allowPrefixList(ctx) }},
		{"the nodes allow the control plane one port", func(ctx context.Context, c *Customer) error {
			return c.replaceRules(ctx, c.ClusterSG, allFromGroup(c.ClusterSG), tcpFromGroup(webhookPort, c.ClusterSG))
		}},
		{"the nodes allow the port by address", func(ctx context.Context, c *Customer) error {
			return c.replaceRules(ctx, c.ClusterSG, allFromGroup(c.ClusterSG), tcpFromCIDR(webhookPort, vpcCIDR))
		}},
		{"a node has its own security group", func(ctx context.Context, c *Customer) error {
			group, err := c.createSecurityGroup(ctx, "own")
			if err != nil {
				return err
			}
			if err := c.allow(ctx, group, tcpFromGroup(webhookPort, c.ClusterSG)); err != nil {
				return err
			}
			return c.setSecurityGroup(ctx, c.Nodes[1], group)
		}},
		{"the route to S3 is in the main route table", func(ctx context.Context, c *Customer) error { return c.useMainRouteTable(ctx) }},
		{"the nodes may connect to the endpoints, S3 and the API server only", func(ctx context.Context, c *Customer) error {
			list, err := c.ec2.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{Filters: []types.Filter{{Name: aws.String("prefix-list-name"), Values: []string{"com.amazonaws." + c.Region + ".s3"}}}})
			if err != nil {
				return err
			}
			s3 := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), PrefixListIds: []types.PrefixListId{{PrefixListId: list.PrefixLists[0].PrefixListId}}}
			return c.setNodeEgress(ctx, s3, tcpFromGroup(443, c.EndpointSG), tcpFromGroup(443, c.ClusterSG))
		}},
		{"network ACLs allow what is needed, and no more", func(ctx context.Context, c *Customer) error {
			for _, s := range c.Subnets {
				if err := c.setACL(ctx, s, aclEntry{100, true, true, "tcp", 443, 443, "0.0.0.0/0"}, aclEntry{110, true, true, "tcp", 1024, 65535, "10.0.0.0/8"}, aclEntry{90, false, false, "tcp", 22, 22, "0.0.0.0/0"},
					aclEntry{100, false, true, "tcp", 443, 443, vpcCIDR}, aclEntry{110, false, true, "tcp", 1024, 65535, "0.0.0.0/0"}); err != nil {
					return err
				}
			}
			return nil
		}},
		{"the cluster has public subnets for load balancers", func(ctx context.Context, c *Customer) error { return c.addPublicSubnets(ctx) }},
	}
}

// policyVariations are of the policies of endpoints.
func policyVariations() []Variation {
	return []Variation{
		{"the policy of the S3 endpoint allows only ECR's bucket", func(ctx context.Context, c *Customer) error {
			text := policyDocument(statement{Effect: "Allow", Principal: "*", Action: []string{"s3:GetObject"}, Resource: []string{"arn:aws:s3:::prod-" + c.Region + "-starport-layer-bucket/*"}})
			return c.modifyEndpoint(ctx, "s3", ec2.ModifyVpcEndpointInput{PolicyDocument: &text})
		}},
		{"the policies of endpoints allow the organization, and what has none", func(ctx context.Context, c *Customer) error { return c.allowOrganization(ctx) }},
		{"the policies of ECR's endpoints allow the role of the nodes, by name", func(ctx context.Context, c *Customer) error {
			nodes := map[string]string{"AWS": "arn:aws:iam::" + Account + ":role/" + c.NodeRole}
			return errors.Join(
				c.setPolicy(ctx, "ecr.api", statement{Effect: "Allow", Principal: nodes, Action: []string{"ecr:GetAuthorizationToken"}, Resource: []string{"*"}}),
				c.setPolicy(ctx, "ecr.dkr", statement{Effect: "Allow", Principal: nodes, Action: []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}, Resource: []string{"arn:aws:ecr:" + c.Region + ":" + c.RegistryAccount + ":repository/" + c.Prefix + "/*"}}))
		}},
	}
}

// nameVariations are of DNS, and of which endpoint serves a name.
func nameVariations() []Variation {
	return []Variation{
		{"private zones have records for what they hide, or hide nothing that is needed", func(ctx context.Context, c *Customer) error {
			s3 := "s3." + c.Region + ".amazonaws.com"
			return errors.Join(c.createZone(ctx, s3, "*."+s3), c.createZone(ctx, "corp.example"), c.createZone(ctx, "rds.amazonaws.com"))
		}},
		{"private zones in place of private DNS, and endpoints in another VPC", func(ctx context.Context, c *Customer) error { return c.useZones(ctx) }},
		{"a rejected endpoint exists in addition to an available one", func(ctx context.Context, c *Customer) error {
			works := c.Endpoints["api"]
			defer func() { c.Endpoints["api"] = works }()
			if err := c.createEndpoint(ctx, "api", c.serviceNames["api"], "Interface"); err != nil {
				return err
			}
			return c.setTag(ctx, c.Endpoints["api"], "test:state", "rejected")
		}},
	}
}

// callerVariations are of the user or role that runs the checks.
func callerVariations() []Variation {
	return []Variation{
		{"the caller has its permissions from a group", func(ctx context.Context, c *Customer) error { return c.joinGroup(ctx) }},
		{"the caller has a role with a path", func(ctx context.Context, c *Customer) error { return c.assumeRole(ctx) }},
	}
}

// mirrorRole is the name of the role of assumeRole.
const mirrorRole = "mirror"

// assumeRole makes a session of a role with a path the caller. The ARN of a session
// has no path.
func (c *Customer) assumeRole(ctx context.Context) error {
	trust := policyDocument(statement{Effect: "Allow", Principal: map[string]string{"AWS": Account}, Action: []string{"sts:AssumeRole"}})
	role, err := c.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(mirrorRole), Path: aws.String("/platform/"), AssumeRolePolicyDocument: &trust})
	if err != nil {
		return err
	}
	text := policyDocument(statement{Effect: "Allow", Action: []string{"ecr:*"}, Resource: []string{"*"}})
	if _, err := c.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: role.Role.RoleName, PolicyName: aws.String("ecr"), PolicyDocument: &text}); err != nil {
		return err
	}
	out, err := sts.NewFromConfig(c.AWS).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Role.Arn, RoleSessionName: aws.String("ci")})
	if err != nil {
		return err
	}
	c.key, c.secret, c.session = *out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken
	c.AWS = c.sdkConfig(c.key, c.secret, c.session)
	return nil
}

// allowPrefixList has the endpoints allow the VPC by a prefix list.
func (c *Customer) allowPrefixList(ctx context.Context) error {
	if err := c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR)); err != nil {
		return err
	}
	list, err := c.ec2.CreateManagedPrefixList(ctx, &ec2.CreateManagedPrefixListInput{
		AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(1), PrefixListName: aws.String("ours"), Entries: []types.AddPrefixListEntry{{Cidr: aws.String(vpcCIDR)}},
	})
	if err != nil {
		return err
	}
	return c.allow(ctx, c.EndpointSG, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(0), ToPort: aws.Int32(1024), PrefixListIds: []types.PrefixListId{{PrefixListId: list.PrefixList.PrefixListId}}})
}

// useMainRouteTable moves the route to S3 of the first subnet to the main route table.
func (c *Customer) useMainRouteTable(ctx context.Context) error {
	tables, err := c.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{c.VPC}}}})
	if err != nil {
		return err
	}
	for _, t := range tables.RouteTables {
		for _, a := range t.Associations {
			if aws.ToBool(a.Main) {
				if err := c.modifyEndpoint(ctx, "s3", ec2.ModifyVpcEndpointInput{AddRouteTableIds: []string{*t.RouteTableId}}); err != nil {
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
}

// allowOrganization makes an organization of the account, and limits the endpoints to it.
// Tokens of pods and layers of ECR are not of the organization.
func (c *Customer) allowOrganization(ctx context.Context) error {
	if err := c.createOrganization(ctx); err != nil {
		return err
	}
	ours := statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: map[string]map[string]string{"StringEquals": {"aws:PrincipalOrgID": c.Organization, "aws:ResourceOrgID": c.Organization}}}
	for _, name := range []string{"ecr.api", "ecr.dkr", "ec2", "eks", "eks-auth", "logs", "autoscaling"} {
		if err := c.setPolicy(ctx, name, ours); err != nil {
			return err
		}
	}
	pods := statement{Effect: "Allow", Principal: "*", Action: []string{"sts:AssumeRoleWithWebIdentity"}, Resource: []string{"*"}, Condition: map[string]map[string]string{"StringEquals": {"aws:ResourceOrgID": c.Organization}}}
	layers := statement{Effect: "Allow", Principal: "*", Action: []string{"s3:GetObject"}, Resource: []string{"arn:aws:s3:::prod-" + c.Region + "-starport-layer-bucket/*"}}
	return errors.Join(c.setPolicy(ctx, "sts", ours, pods), c.setPolicy(ctx, "s3", ours, layers))
}

// useZones gives names by private zones to endpoints that have no private DNS, or are not in
// the VPC.
func (c *Customer) useZones(ctx context.Context) error {
	domain := c.Region + ".amazonaws.com"
	for _, name := range []string{"ecr.dkr", "api"} {
		if err := c.modifyEndpoint(ctx, name, ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}); err != nil {
			return err
		}
	}
	if _, err := c.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{c.Endpoints["sts"], c.Endpoints["kvisor"]}}); err != nil {
		return err
	}
	return errors.Join(c.createZone(ctx, "dkr.ecr."+domain, "*.dkr.ecr."+domain), c.createZone(ctx, "api.cast.ai", "api.cast.ai"), c.createZone(ctx, "sts."+domain, "sts."+domain),
		c.createZone(ctx, "kvisor.prod-master.cast.ai", "kvisor.prod-master.cast.ai"))
}

// joinGroup gives the caller its permissions from a group.
func (c *Customer) joinGroup(ctx context.Context) error {
	if _, err := c.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &c.User, PolicyName: aws.String(policyName)}); err != nil {
		return err
	}
	if _, err := c.iam.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("platform")}); err != nil {
		return err
	}
	text := policyDocument(statement{Effect: "Allow", Action: []string{"ecr:*"}, Resource: []string{"*"}})
	if _, err := c.iam.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: aws.String("platform"), PolicyName: aws.String("ecr"), PolicyDocument: &text}); err != nil {
		return err
	}
	_, err := c.iam.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("platform"), UserName: &c.User})
	return err
}
