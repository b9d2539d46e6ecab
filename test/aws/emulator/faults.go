// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// Fault breaks a healthy account in one way.
type Fault struct {
	Name string
	// Check is the ID of the only check that must fail.
	Check string
	// Inject applies the fault. NewCustomer removes it.
	Inject func(context.Context, *Customer) error
}

// Faults returns those of network and identity.
func Faults() []Fault {
	return slices.Concat(endpointFaults(), networkFaults(), identityFaults())
}

func endpointFaults() []Fault {
	missing := func(name string) func(context.Context, *Customer) error {
		return func(ctx context.Context, c *Customer) error {
			_, err := c.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{c.Endpoints[name]}})
			return err
		}
	}
	state := func(name, state string) func(context.Context, *Customer) error {
		return func(ctx context.Context, c *Customer) error {
			return c.setTag(ctx, c.Endpoints[name], "test:state", state)
		}
	}
	change := func(name string, in func(*Customer) ec2.ModifyVpcEndpointInput) func(context.Context, *Customer) error {
		return func(ctx context.Context, c *Customer) error { return c.modifyEndpoint(ctx, name, in(c)) }
	}
	otherBucket := policyDocument(statement{Effect: "Allow", Principal: "*", Action: []string{"s3:GetObject"}, Resource: []string{"arn:aws:s3:::my-own-bucket/*"}})
	denied := policyDocument(
		statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}},
		statement{Effect: "Deny", Principal: "*", Action: []string{"s3:Get*"}, Resource: []string{"arn:aws:s3:::prod-*"}},
	)
	return []Fault{
		{"a required AWS endpoint is missing", "network/aws-endpoints", missing("ecr.dkr")},
		{"the S3 endpoint is missing", "network/aws-endpoints", missing("s3")},
		{"a recommended AWS endpoint is missing", "network/aws-endpoints", missing("logs")},
		{"an endpoint of CAST AI is missing", "network/castai-endpoints", missing("kvisor")},
		{"an endpoint is pending acceptance", "network/endpoint-state", state("api", "pendingAcceptance")},
		{"an endpoint is rejected", "network/endpoint-state", state("grpc", "rejected")},
		{"an AWS endpoint is pending", "network/endpoint-state", state("sts", "pending")},
		{"an endpoint has no subnet in a zone", "network/endpoint-subnets", change("ecr.api", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveSubnetIds: c.Subnets[2:]}
		})},
		{"private DNS is disabled for a CAST AI service", "network/private-dns", change("api", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		})},
		{"private DNS is disabled for an AWS service", "network/private-dns", change("ecr.dkr", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		})},
		{"a subnet has no route to S3", "network/s3-route", change("s3", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveRouteTableIds: c.RouteTables[1:2]}
		})},
		{"the policy of the S3 endpoint allows only another bucket", "network/s3-policy", change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PolicyDocument: &otherBucket}
		})},
		{"the policy of the S3 endpoint denies ECR's bucket", "network/s3-policy", change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PolicyDocument: &denied}
		})},
	}
}

func networkFaults() []Fault {
	return []Fault{
		{"there is no such cluster", "network/cluster-vpc", func(ctx context.Context, c *Customer) error {
			if _, err := c.eks.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: &c.Cluster, NodegroupName: aws.String("workers")}); err != nil {
				return err
			}
			_, err := c.eks.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: &c.Cluster})
			return err
		}},
		{"the API server has no private endpoint", "network/cluster-endpoint", func(ctx context.Context, c *Customer) error {
			_, err := c.eks.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: &c.Cluster, ResourcesVpcConfig: &ekstypes.VpcConfigRequest{EndpointPrivateAccess: aws.Bool(false), EndpointPublicAccess: aws.Bool(true)}})
			return err
		}},
		{"the VPC has no DNS support", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.setDNS(ctx, false, true) }},
		{"the VPC has no DNS hostnames", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.setDNS(ctx, true, false) }},
		{"nodes use another DNS server", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.setNameServer(ctx, "10.9.0.2") }},
		{"the security group of one node has no rule", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			group, err := c.createSecurityGroup(ctx, "own")
			if err != nil {
				return err
			}
			return c.setSecurityGroup(ctx, c.Nodes[1], group)
		}},
		{"the endpoints allow nothing", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			return c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR))
		}},
		{"the endpoints allow another network", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			if err := c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR)); err != nil {
				return err
			}
			return c.allow(ctx, c.EndpointSG, tcpFromCIDR(443, "10.1.0.0/16"))
		}},
		{"the endpoints allow two of three subnets", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			if err := c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR)); err != nil {
				return err
			}
			return c.allow(ctx, c.EndpointSG, tcpFromCIDR(443, "10.0.2.0/23"))
		}},
		{"the nodes do not allow the control plane", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			return c.revoke(ctx, c.ClusterSG, allFromGroup(c.ClusterSG))
		}},
		{"the nodes allow the control plane another port", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			if err := c.revoke(ctx, c.ClusterSG, allFromGroup(c.ClusterSG)); err != nil {
				return err
			}
			return c.allow(ctx, c.ClusterSG, tcpFromCIDR(10250, vpcCIDR))
		}},
		{"a subnet has no tag", "network/subnet-tags", func(ctx context.Context, c *Customer) error {
			_, err := c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: c.Subnets[:1], Tags: []ec2types.Tag{{Key: aws.String("cast.ai/routable")}}})
			return err
		}},
		{"a subnet is tagged false", "network/subnet-tags", func(ctx context.Context, c *Customer) error {
			return c.setTag(ctx, c.Subnets[2], "cast.ai/routable", "false")
		}},
	}
}

func identityFaults() []Fault {
	return []Fault{
		{"nodes have no permission to pull", "registry/node-role", func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &c.NodeRole, PolicyArn: aws.String(PullOnly)})
			return err
		}},
		{"nodes have permission to pull from other repositories", "registry/node-role", func(ctx context.Context, c *Customer) error {
			if _, err := c.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &c.NodeRole, PolicyArn: aws.String(PullOnly)}); err != nil {
				return err
			}
			text := policyDocument(
				statement{Effect: "Allow", Action: []string{"ecr:GetAuthorizationToken"}, Resource: []string{"*"}},
				statement{Effect: "Allow", Action: []string{"ecr:*"}, Resource: []string{"arn:aws:ecr:" + c.Region + ":" + Account + ":repository/apps/*"}},
			)
			_, err := c.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &c.NodeRole, PolicyName: aws.String("apps"), PolicyDocument: &text})
			return err
		}},
		{"the caller has no permission to put images", "identity/mirror-permissions", func(ctx context.Context, c *Customer) error {
			return c.setMirrorActions(ctx, slices.DeleteFunc(mirrorActions(), func(a string) bool { return a == "ecr:PutImage" })...)
		}},
		{"the caller has no permissions", "identity/mirror-permissions", func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &c.User, PolicyName: aws.String(policyName)})
			return err
		}},
	}
}
