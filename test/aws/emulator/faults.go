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
	// Cure does what the remedy says, where that is not a command of the AWS CLI. The
	// commands of all other remedies are run.
	Cure func(context.Context, *Customer) error
	// Also are the IDs of other checks that must fail, with a remedy of their own.
	Also []string
	// IsInput is set if other input mends the fault, such as the name of another cluster.
	IsInput bool
}

// Faults returns those of network and identity.
func Faults() []Fault {
	return slices.Concat(endpointFaults(), policyFaults(), networkFaults(), identityFaults())
}

func endpointFaults() []Fault {
	missing := func(name string) func(context.Context, *Customer) error {
		return func(ctx context.Context, c *Customer) error {
			_, err := c.ec2.DeleteVpcEndpoints(ctx, &ec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{c.Endpoints[name]}})
			return err
		}
	}
	accept := func(name string) func(context.Context, *Customer) error {
		return func(ctx context.Context, c *Customer) error {
			return c.setTag(ctx, c.Endpoints[name], "test:state", "available")
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
		{"a required AWS endpoint is missing", "network/aws-endpoints", missing("ecr.dkr"), nil, nil, false},
		{"the S3 endpoint is missing", "network/aws-endpoints", missing("s3"), nil, nil, false},
		{"a recommended AWS endpoint is missing", "network/aws-endpoints", missing("logs"), nil, nil, false},
		{"an endpoint of CAST AI is missing", "network/castai-endpoints", missing("kvisor"), nil, nil, false},
		{"an endpoint is pending acceptance", "network/endpoint-state", state("api", "pendingAcceptance"), accept("api"), nil, false},
		{"an endpoint is rejected", "network/endpoint-state", state("grpc", "rejected"), accept("grpc"), nil, false},
		{"an AWS endpoint is pending", "network/endpoint-state", state("sts", "pending"), accept("sts"), nil, false},
		{"an endpoint has no subnet in a zone", "network/endpoint-subnets", change("ecr.api", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveSubnetIds: c.Subnets[2:]}
		}), nil, nil, false},
		{"private DNS is disabled for a CAST AI service", "network/private-dns", change("api", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		}), nil, nil, false},
		{"private DNS is disabled for an AWS service", "network/private-dns", change("ecr.dkr", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		}), nil, nil, false},
		{"a subnet has no route to S3", "network/s3-route", change("s3", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveRouteTableIds: c.RouteTables[1:2]}
		}), nil, nil, false},
		{"the policy of the S3 endpoint allows only another bucket", "network/s3-policy", change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PolicyDocument: &otherBucket}
		}), nil, nil, false},
		{"the policy of the S3 endpoint denies ECR's bucket", "network/s3-policy", change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PolicyDocument: &denied}
		}), func(ctx context.Context, c *Customer) error {
			return c.setPolicy(ctx, "s3", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}})
		}, nil, false},
	}
}

// policyFaults are policies of endpoints as they are written in practice.
func policyFaults() []Fault {
	all := statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}}
	set := func(name string, statements ...statement) func(context.Context, *Customer) error {
		return func(ctx context.Context, c *Customer) error { return c.setPolicy(ctx, name, statements...) }
	}
	if1 := func(operator, key, value string) any { return map[string]map[string]string{operator: {key: value}} }
	ofAccount := func(account string) statement {
		return statement{Effect: "Allow", Principal: map[string]string{"AWS": account}, Action: []string{"*"}, Resource: []string{"*"}}
	}
	return []Fault{
		{"the policy of ecr.api denies logins", "network/endpoint-policies", set("ecr.api", all, statement{Effect: "Deny", Principal: "*", Action: []string{"ecr:GetAuthorizationToken"}, Resource: []string{"*"}}), set("ecr.api", all), nil, false},
		{"the policy of ecr.dkr allows another account", "network/endpoint-policies", set("ecr.dkr", ofAccount("210987654321")), nil, nil, false},
		{"the policy of ecr.dkr has a Deny only", "network/endpoint-policies", set("ecr.dkr", statement{Effect: "Deny", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringNotEquals", "aws:PrincipalAccount", Account)}), nil, nil, false},
		{"the policy of ecr.dkr allows other repositories", "network/endpoint-policies", set("ecr.dkr", statement{Effect: "Allow", Principal: "*", Action: []string{"ecr:*"}, Resource: []string{"arn:aws:ecr:*:*:repository/apps/*"}}), nil, nil, false},
		{"the policy of ecr.dkr allows another VPC", "network/endpoint-policies", set("ecr.dkr", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:SourceVpc", "vpc-other")}), nil, nil, false},
		{"the policy of sts allows the account, which pods do not have yet", "network/endpoint-policies", set("sts", ofAccount(Account)), nil, nil, false},
		{"the policy of sts allows the account as a condition", "network/endpoint-policies", set("sts", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:PrincipalAccount", Account)}), nil, nil, false},
		{"the policy of ec2 allows another action", "network/endpoint-policies", set("ec2", statement{Effect: "Allow", Principal: "*", Action: []string{"ec2:DescribeVpcs"}, Resource: []string{"*"}}), nil, nil, false},
		{"the policy of eks denies other roles than that of an administrator", "network/endpoint-policies", set("eks", all, statement{Effect: "Deny", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/admin")}), set("eks", all), nil, false},
		{"the policy of ecr.api allows another organization", "network/endpoint-policies", func(ctx context.Context, c *Customer) error {
			if err := c.createOrganization(ctx); err != nil {
				return err
			}
			return c.setPolicy(ctx, "ecr.api", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:PrincipalOrgID", "o-0000000000")})
		}, nil, nil, false},
		{"the policy of the S3 endpoint allows the account", "network/s3-policy", set("s3", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:PrincipalAccount", Account)}), nil, nil, false},
		{"the policy of the S3 endpoint allows buckets of the account", "network/s3-policy", set("s3", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:ResourceAccount", Account)}), nil, nil, false},
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
		}, nil, nil, true},
		{"the API server has no private endpoint", "network/cluster-endpoint", func(ctx context.Context, c *Customer) error {
			_, err := c.eks.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: &c.Cluster, ResourcesVpcConfig: &ekstypes.VpcConfigRequest{EndpointPrivateAccess: aws.Bool(false), EndpointPublicAccess: aws.Bool(true)}})
			return err
		}, nil, nil, false},
		{"the VPC has no DNS support", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.setDNS(ctx, false, true) }, nil, nil, false},
		{"the VPC has no DNS hostnames", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.setDNS(ctx, true, false) }, nil, nil, false},
		{"nodes use another DNS server", "network/vpc-dns", func(ctx context.Context, c *Customer) error { return c.setNameServer(ctx, "10.9.0.2") },
			func(ctx context.Context, c *Customer) error { return c.setNameServer(ctx, "AmazonProvidedDNS") }, nil, false},
		{"the security group of one node has no rule", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			group, err := c.createSecurityGroup(ctx, "own")
			if err != nil {
				return err
			}
			return c.setSecurityGroup(ctx, c.Nodes[1], group)
		}, nil, nil, false},
		{"the endpoints allow nothing", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			return c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR))
		}, nil, nil, false},
		{"the endpoints allow another network", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			if err := c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR)); err != nil {
				return err
			}
			return c.allow(ctx, c.EndpointSG, tcpFromCIDR(443, "10.1.0.0/16"))
		}, nil, nil, false},
		{"the endpoints allow two of three subnets", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			if err := c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR)); err != nil {
				return err
			}
			return c.allow(ctx, c.EndpointSG, tcpFromCIDR(443, "10.0.2.0/23"))
		}, nil, nil, false},
		{"the nodes do not allow the control plane", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			return c.revoke(ctx, c.ClusterSG, allFromGroup(c.ClusterSG))
		}, nil, nil, false},
		{"the nodes allow the control plane another port", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			if err := c.revoke(ctx, c.ClusterSG, allFromGroup(c.ClusterSG)); err != nil {
				return err
			}
			return c.allow(ctx, c.ClusterSG, tcpFromCIDR(10250, vpcCIDR))
		}, nil, nil, false},
		{"the control plane's group has no egress rule", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			own, err := c.createSecurityGroup(ctx, "own")
			if err != nil {
				return err
			}
			if err := c.allow(ctx, own, tcpFromGroup(webhookPort, c.ClusterSG)); err != nil {
				return err
			}
			for _, n := range c.Nodes {
				if err := c.setSecurityGroup(ctx, n, own); err != nil {
					return err
				}
			}
			return c.revokeAllEgress(ctx, c.ClusterSG)
		}, nil, nil, false},
		{"the cluster security group, which nodes have, has no egress rule", "network/control-plane-port", func(ctx context.Context, c *Customer) error {
			return c.revokeAllEgress(ctx, c.ClusterSG)
		}, nil, []string{"network/node-egress"}, false},
		{"nodes may not connect to port 443", "network/node-egress", func(ctx context.Context, c *Customer) error {
			return c.setNodeEgress(ctx, tcpFromCIDR(53, vpcCIDR), tcpFromCIDR(webhookPort, vpcCIDR))
		}, nil, nil, false},
		{"nodes may connect to the VPC only, and not to S3", "network/node-egress", func(ctx context.Context, c *Customer) error {
			return c.setNodeEgress(ctx, tcpFromCIDR(443, vpcCIDR))
		}, nil, nil, false},
		{"pods of a subnet without a node are not admitted by the endpoints", "network/endpoint-security-groups", func(ctx context.Context, c *Customer) error {
			return c.addPodSubnets(ctx)
		}, nil, nil, false},
		{"a network ACL denies connections to the endpoints", "network/network-acls", func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[0], aclEntry{90, true, false, "tcp", 443, 443, "10.0.2.0/24"}, aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{100, false, true, "-1", 0, 0, "0.0.0.0/0"})
		}, nil, nil, false},
		{"a network ACL admits connections, and not their answers", "network/network-acls", func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[0], aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{100, false, true, "tcp", 0, 10000, "0.0.0.0/0"})
		}, nil, nil, false},
		{"a network ACL denies answers of S3", "network/network-acls", func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[1], aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{100, false, true, "-1", 0, 0, vpcCIDR})
		}, nil, nil, false},
		{"a network ACL denies the webhook's port", "network/network-acls", func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[0], aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{50, false, false, "tcp", webhookPort, webhookPort, "0.0.0.0/0"}, aclEntry{100, false, true, "-1", 0, 0, "0.0.0.0/0"})
		}, nil, nil, false},
		{"a private zone hides S3", "network/private-zones", func(ctx context.Context, c *Customer) error {
			return c.createZone(ctx, "amazonaws.com")
		}, nil, nil, false},
		{"a private zone hides the registry", "network/private-zones", func(ctx context.Context, c *Customer) error {
			return c.createZone(ctx, c.RegistryAccount+".dkr.ecr."+c.Region+".amazonaws.com")
		}, nil, nil, false},
		{"a private zone hides CAST AI", "network/private-zones", func(ctx context.Context, c *Customer) error {
			return c.createZone(ctx, "cast.ai")
		}, nil, nil, false},
		{"a subnet has a route to the internet", "network/isolation", func(ctx context.Context, c *Customer) error {
			return c.routeToInternet(ctx, c.RouteTables[0])
		}, nil, nil, false},
		{"a subnet has no tag", "network/subnet-tags", func(ctx context.Context, c *Customer) error {
			_, err := c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: c.Subnets[:1], Tags: []ec2types.Tag{{Key: aws.String("cast.ai/routable")}}})
			return err
		}, nil, nil, false},
		{"a subnet is tagged false", "network/subnet-tags", func(ctx context.Context, c *Customer) error {
			return c.setTag(ctx, c.Subnets[2], "cast.ai/routable", "false")
		}, nil, nil, false},
	}
}

func identityFaults() []Fault {
	return []Fault{
		{"nodes have no permission to pull", "registry/node-role", func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &c.NodeRole, PolicyArn: aws.String(PullOnly)})
			return err
		}, nil, nil, false},
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
		}, nil, nil, false},
		{"the caller has no permission to put images", "identity/mirror-permissions", func(ctx context.Context, c *Customer) error {
			return c.setMirrorActions(ctx, slices.DeleteFunc(mirrorActions(), func(a string) bool { return a == "ecr:PutImage" })...)
		}, nil, nil, false},
		{"the caller has no permissions", "identity/mirror-permissions", func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &c.User, PolicyName: aws.String(policyName)})
			return err
		}, nil, nil, false},
	}
}
