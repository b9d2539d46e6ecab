// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// Fault is one way to break a customer.
type Fault struct {
	// Name says what is broken.
	Name string
	// Check is the ID of the one check that must find it.
	Check string
	// Inject breaks a healthy customer. For another fault make a new one.
	Inject func(context.Context, *Customer) error
}

// Faults are those of network and identity.
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
			return c.tag(ctx, c.Endpoints[name], "test:state", state)
		}
	}
	change := func(name string, in func(*Customer) ec2.ModifyVpcEndpointInput) func(context.Context, *Customer) error {
		return func(ctx context.Context, c *Customer) error { return c.modify(ctx, name, in(c)) }
	}
	narrow := document(statement{Effect: "Allow", Principal: "*", Action: []string{"s3:GetObject"}, Resource: []string{"arn:aws:s3:::my-own-bucket/*"}})
	denied := document(
		statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}},
		statement{Effect: "Deny", Principal: "*", Action: []string{"s3:Get*"}, Resource: []string{"arn:aws:s3:::prod-*"}},
	)
	return []Fault{
		{"a required AWS endpoint is missing", "network/aws-endpoints", missing("ecr.dkr")},
		{"the S3 endpoint is missing", "network/aws-endpoints", missing("s3")},
		{"a recommended AWS endpoint is missing", "network/aws-endpoints", missing("logs")},
		{"an endpoint of CAST AI is missing", "network/castai-endpoints", missing("kvisor")},
		{"an endpoint waits for acceptance", "network/endpoint-state", state("api", "pendingAcceptance")},
		{"an endpoint is rejected", "network/endpoint-state", state("grpc", "rejected")},
		{"an AWS endpoint is being made", "network/endpoint-state", state("sts", "pending")},
		{"an endpoint has no subnet in a zone", "network/endpoint-subnets", change("ecr.api", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveSubnetIds: c.Subnets[2:]}
		})},
		{"private DNS is off at CAST AI", "network/private-dns", change("api", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		})},
		{"private DNS is off at AWS", "network/private-dns", change("ecr.dkr", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		})},
		{"a subnet has no route to S3", "network/s3-route", change("s3", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveRouteTableIds: c.RouteTables[1:2]}
		})},
		{"the S3 endpoint lets own buckets alone through", "network/s3-policy", change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PolicyDocument: &narrow}
		})},
		{"the S3 endpoint denies ECR's bucket", "network/s3-policy", change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
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
		{"the API server has no private address", "network/cluster-endpoint", func(ctx context.Context, c *Customer) error {
			_, err := c.eks.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: &c.Cluster, ResourcesVpcConfig: &ekstypes.VpcConfigRequest{EndpointPrivateAccess: aws.Bool(false), EndpointPublicAccess: aws.Bool(true)}})
			return err
		}},
		{"the VPC does not resolve names", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.dns(ctx, false, true) }},
		{"the VPC gives no host names", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.dns(ctx, true, false) }},
		{"nodes ask a resolver of their own", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.resolver(ctx, "10.9.0.2") }},
		{"a node has a security group of its own that lets nobody in", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			group, err := c.group(ctx, "own")
			if err != nil {
				return err
			}
			return c.move(ctx, c.Nodes[1], group)
		}},
		{"the endpoints let nobody in", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			return c.keepOut(ctx, c.EndpointSG, permission(443, vpcCIDR))
		}},
		{"the endpoints let another network in", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.EndpointSG, permission(443, vpcCIDR)); err != nil {
				return err
			}
			return c.letIn(ctx, c.EndpointSG, 443, "10.1.0.0/16")
		}},
		{"the endpoints let two of three subnets in", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.EndpointSG, permission(443, vpcCIDR)); err != nil {
				return err
			}
			return c.letIn(ctx, c.EndpointSG, 443, "10.0.2.0/23")
		}},
		{"nodes do not let the control plane in", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			return c.keepOut(ctx, c.ClusterSG, all(c.ClusterSG))
		}},
		{"nodes let the control plane in at another port", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			if err := c.keepOut(ctx, c.ClusterSG, all(c.ClusterSG)); err != nil {
				return err
			}
			return c.letIn(ctx, c.ClusterSG, 10250, vpcCIDR)
		}},
		{"a subnet has no tag", "network/subnet-tags", func(ctx context.Context, c *Customer) error {
			_, err := c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: c.Subnets[:1], Tags: []ec2types.Tag{{Key: aws.String("cast.ai/routable")}}})
			return err
		}},
		{"a subnet is tagged false", "network/subnet-tags", func(ctx context.Context, c *Customer) error {
			return c.tag(ctx, c.Subnets[2], "cast.ai/routable", "false")
		}},
	}
}

func identityFaults() []Fault {
	return []Fault{
		{"nodes may not pull", "registry/node-role", func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &c.NodeRole, PolicyArn: aws.String(PullOnly)})
			return err
		}},
		{"nodes may pull from other repositories", "registry/node-role", func(ctx context.Context, c *Customer) error {
			if _, err := c.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &c.NodeRole, PolicyArn: aws.String(PullOnly)}); err != nil {
				return err
			}
			text := document(
				statement{Effect: "Allow", Action: []string{"ecr:GetAuthorizationToken"}, Resource: []string{"*"}},
				statement{Effect: "Allow", Action: []string{"ecr:*"}, Resource: []string{"arn:aws:ecr:" + c.Region + ":" + Account + ":repository/apps/*"}},
			)
			_, err := c.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &c.NodeRole, PolicyName: aws.String("apps"), PolicyDocument: &text})
			return err
		}},
		{"who mirrors may not put images", "identity/mirror-permissions", func(ctx context.Context, c *Customer) error {
			return c.mayMirror(ctx, slices.DeleteFunc(slices.Clone(mirrorActions), func(a string) bool { return a == "ecr:PutImage" })...)
		}},
		{"who mirrors may do nothing", "identity/mirror-permissions", func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &c.User, PolicyName: aws.String(policyName)})
			return err
		}},
	}
}

// Services are the full names of the endpoints' services, by our name.
func (c *Customer) Services() map[string]string { return maps.Clone(c.serviceNames) }
