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
	return slices.Concat(endpointFaults(), policyFaults(), vpcFaults(), securityGroupFaults(), pathFaults(), identityFaults())
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
		{Name: "a required AWS endpoint is missing", Check: "network/aws-endpoints", Inject: missing("ecr.dkr")},
		{Name: "the S3 endpoint is missing", Check: "network/aws-endpoints", Inject: missing("s3")},
		{Name: "a recommended AWS endpoint is missing", Check: "network/aws-endpoints", Inject: missing("logs")},
		{Name: "an endpoint of CAST AI is missing", Check: "network/castai-endpoints", Inject: missing("kvisor")},
		{Name: "an endpoint is pending acceptance", Check: "network/endpoint-state", Inject: state("api", "pendingAcceptance"), Cure: accept("api")},
		{Name: "an endpoint is rejected", Check: "network/endpoint-state", Inject: state("grpc", "rejected"), Cure: accept("grpc")},
		{Name: "an AWS endpoint is pending", Check: "network/endpoint-state", Inject: state("sts", "pending"), Cure: accept("sts")},
		{Name: "an endpoint has no subnet in a zone", Check: "network/endpoint-subnets", Inject: change("ecr.api", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveSubnetIds: c.Subnets[2:]}
		})},
		{Name: "private DNS is disabled for a CAST AI service", Check: "network/private-dns", Inject: change("api", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		})},
		{Name: "private DNS is disabled for an AWS service", Check: "network/private-dns", Inject: change("ecr.dkr", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PrivateDnsEnabled: aws.Bool(false)}
		})},
		{Name: "a subnet has no route to S3", Check: "network/s3-route", Inject: change("s3", func(c *Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{RemoveRouteTableIds: c.RouteTables[1:2]}
		})},
		{Name: "the policy of the S3 endpoint allows only another bucket", Check: "network/s3-policy", Inject: change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PolicyDocument: &otherBucket}
		})},
		{Name: "the policy of the S3 endpoint denies ECR's bucket", Check: "network/s3-policy", Inject: change("s3", func(*Customer) ec2.ModifyVpcEndpointInput {
			return ec2.ModifyVpcEndpointInput{PolicyDocument: &denied}
		}), Cure: func(ctx context.Context, c *Customer) error {
			return c.setPolicy(ctx, "s3", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}})
		}},
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
		{Name: "the policy of ecr.api denies logins", Check: "network/endpoint-policies", Inject: set("ecr.api", all, statement{Effect: "Deny", Principal: "*", Action: []string{"ecr:GetAuthorizationToken"}, Resource: []string{"*"}}), Cure: set("ecr.api", all)},
		{Name: "the policy of ecr.dkr allows another account", Check: "network/endpoint-policies", Inject: set("ecr.dkr", ofAccount("210987654321"))},
		{Name: "the policy of ecr.dkr has a Deny only", Check: "network/endpoint-policies", Inject: set("ecr.dkr", statement{Effect: "Deny", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringNotEquals", "aws:PrincipalAccount", Account)})},
		{Name: "the policy of ecr.dkr allows other repositories", Check: "network/endpoint-policies", Inject: set("ecr.dkr", statement{Effect: "Allow", Principal: "*", Action: []string{"ecr:*"}, Resource: []string{"arn:aws:ecr:*:*:repository/apps/*"}})},
		{Name: "the policy of ecr.dkr allows another VPC", Check: "network/endpoint-policies", Inject: set("ecr.dkr", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:SourceVpc", "vpc-other")})},
		{Name: "the policy of sts allows the account, which pods do not have yet", Check: "network/endpoint-policies", Inject: set("sts", ofAccount(Account))},
		{Name: "the policy of sts allows the account as a condition", Check: "network/endpoint-policies", Inject: set("sts", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:PrincipalAccount", Account)})},
		{Name: "the policy of ec2 allows another action", Check: "network/endpoint-policies", Inject: set("ec2", statement{Effect: "Allow", Principal: "*", Action: []string{"ec2:DescribeVpcs"}, Resource: []string{"*"}})},
		{Name: "the policy of eks denies other roles than that of an administrator", Check: "network/endpoint-policies", Inject: set("eks", all, statement{Effect: "Deny", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/admin")}), Cure: set("eks", all)},
		{Name: "the policy of ecr.api allows another organization", Check: "network/endpoint-policies", Inject: func(ctx context.Context, c *Customer) error {
			if err := c.createOrganization(ctx); err != nil {
				return err
			}
			return c.setPolicy(ctx, "ecr.api", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:PrincipalOrgID", "o-0000000000")})
		}},
		{Name: "the policy of the S3 endpoint allows the account", Check: "network/s3-policy", Inject: set("s3", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:PrincipalAccount", Account)})},
		{Name: "the policy of the S3 endpoint allows buckets of the account", Check: "network/s3-policy", Inject: set("s3", statement{Effect: "Allow", Principal: "*", Action: []string{"*"}, Resource: []string{"*"}, Condition: if1("StringEquals", "aws:ResourceAccount", Account)})},
	}
}

// vpcFaults are of the cluster and the settings of its VPC.
func vpcFaults() []Fault {
	return []Fault{
		{Name: "there is no such cluster", Check: "network/cluster-vpc", Inject: func(ctx context.Context, c *Customer) error {
			if _, err := c.eks.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: &c.Cluster, NodegroupName: aws.String("workers")}); err != nil {
				return err
			}
			_, err := c.eks.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: &c.Cluster})
			return err
		}, IsInput: true},
		{Name: "the API server has no private endpoint", Check: "network/cluster-endpoint", Inject: func(ctx context.Context, c *Customer) error {
			_, err := c.eks.UpdateClusterConfig(ctx, &eks.UpdateClusterConfigInput{Name: &c.Cluster, ResourcesVpcConfig: &ekstypes.VpcConfigRequest{EndpointPrivateAccess: aws.Bool(false), EndpointPublicAccess: aws.Bool(true)}})
			return err
		}},
		{Name: "the VPC has no DNS support", Check: "network/vpc-dns", Inject: func(ctx context.Context, c *Customer) error { return c.setDNS(ctx, false, true) }},
		{Name: "the VPC has no DNS hostnames", Check: "network/vpc-dns", Inject: func(ctx context.Context, c *Customer) error { return c.setDNS(ctx, true, false) }},
		{Name: "nodes use another DNS server", Check: "network/vpc-dns", Inject: func(ctx context.Context, c *Customer) error { return c.setNameServer(ctx, "10.9.0.2") },
			Cure: func(ctx context.Context, c *Customer) error { return c.setNameServer(ctx, "AmazonProvidedDNS") }},
		{Name: "a subnet has a route to the internet", Check: "network/isolation", Inject: func(ctx context.Context, c *Customer) error {
			return c.routeToInternet(ctx, c.RouteTables[0])
		}},
		{Name: "a subnet has no tag", Check: "network/subnet-tags", Inject: func(ctx context.Context, c *Customer) error {
			_, err := c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: c.Subnets[:1], Tags: []ec2types.Tag{{Key: aws.String("cast.ai/routable")}}})
			return err
		}},
		{Name: "a subnet is tagged false", Check: "network/subnet-tags", Inject: func(ctx context.Context, c *Customer) error {
			return c.setTag(ctx, c.Subnets[2], "cast.ai/routable", "false")
		}},
	}
}

// securityGroupFaults are of the security groups of endpoints, nodes and the control plane.
func securityGroupFaults() []Fault {
	return []Fault{
		{Name: "the security group of one node has no rule", Check: "network/control-plane-port", Inject: func(ctx context.Context, c *Customer) error {
			group, err := c.createSecurityGroup(ctx, "own")
			if err != nil {
				return err
			}
			return c.setSecurityGroup(ctx, c.Nodes[1], group)
		}},
		{Name: "the endpoints allow nothing", Check: "network/endpoint-security-groups", Inject: func(ctx context.Context, c *Customer) error {
			return c.revoke(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR))
		}},
		{Name: "the endpoints allow another network", Check: "network/endpoint-security-groups", Inject: func(ctx context.Context, c *Customer) error {
			return c.replaceRules(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR), tcpFromCIDR(443, "10.1.0.0/16"))
		}},
		{Name: "the endpoints allow two of three subnets", Check: "network/endpoint-security-groups", Inject: func(ctx context.Context, c *Customer) error {
			return c.replaceRules(ctx, c.EndpointSG, tcpFromCIDR(443, vpcCIDR), tcpFromCIDR(443, "10.0.2.0/23"))
		}},
		{Name: "the nodes do not allow the control plane", Check: "network/control-plane-port", Inject: func(ctx context.Context, c *Customer) error {
			return c.revoke(ctx, c.ClusterSG, allFromGroup(c.ClusterSG))
		}},
		{Name: "the nodes allow the control plane another port", Check: "network/control-plane-port", Inject: func(ctx context.Context, c *Customer) error {
			return c.replaceRules(ctx, c.ClusterSG, allFromGroup(c.ClusterSG), tcpFromCIDR(10250, vpcCIDR))
		}},
		{Name: "the control plane's group has no egress rule", Check: "network/control-plane-port", Inject: func(ctx context.Context, c *Customer) error {
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
		}},
		{Name: "the cluster security group, which nodes have, has no egress rule", Check: "network/control-plane-port", Inject: func(ctx context.Context, c *Customer) error {
			return c.revokeAllEgress(ctx, c.ClusterSG)
		}, Also: []string{"network/node-egress"}},
		{Name: "nodes may not connect to port 443", Check: "network/node-egress", Inject: func(ctx context.Context, c *Customer) error {
			return c.setNodeEgress(ctx, tcpFromCIDR(53, vpcCIDR), tcpFromCIDR(webhookPort, vpcCIDR))
		}},
		{Name: "nodes may connect to the VPC only, and not to S3", Check: "network/node-egress", Inject: func(ctx context.Context, c *Customer) error {
			return c.setNodeEgress(ctx, tcpFromCIDR(443, vpcCIDR))
		}},
		{Name: "pods of a subnet without a node are not admitted by the endpoints", Check: "network/endpoint-security-groups", Inject: func(ctx context.Context, c *Customer) error {
			return c.addPodSubnets(ctx)
		}},
	}
}

// pathFaults are of network ACLs and private zones.
func pathFaults() []Fault {
	return []Fault{
		{Name: "a network ACL denies connections to the endpoints", Check: "network/network-acls", Inject: func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[0], aclEntry{90, true, false, "tcp", 443, 443, "10.0.2.0/24"}, aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{100, false, true, "-1", 0, 0, "0.0.0.0/0"})
		}},
		{Name: "a network ACL admits connections, and not their answers", Check: "network/network-acls", Inject: func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[0], aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{100, false, true, "tcp", 0, 10000, "0.0.0.0/0"})
		}},
		{Name: "a network ACL denies answers of S3", Check: "network/network-acls", Inject: func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[1], aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{100, false, true, "-1", 0, 0, vpcCIDR})
		}},
		{Name: "a network ACL denies the webhook's port", Check: "network/network-acls", Inject: func(ctx context.Context, c *Customer) error {
			return c.setACL(ctx, c.Subnets[0], aclEntry{100, true, true, "-1", 0, 0, "0.0.0.0/0"}, aclEntry{50, false, false, "tcp", webhookPort, webhookPort, "0.0.0.0/0"}, aclEntry{100, false, true, "-1", 0, 0, "0.0.0.0/0"})
		}},
		{Name: "a private zone hides S3", Check: "network/private-zones", Inject: func(ctx context.Context, c *Customer) error {
			return c.createZone(ctx, "amazonaws.com")
		}},
		{Name: "a private zone hides the registry", Check: "network/private-zones", Inject: func(ctx context.Context, c *Customer) error {
			return c.createZone(ctx, c.RegistryAccount+".dkr.ecr."+c.Region+".amazonaws.com")
		}},
		{Name: "a private zone hides CAST AI", Check: "network/private-zones", Inject: func(ctx context.Context, c *Customer) error {
			return c.createZone(ctx, "cast.ai")
		}},
	}
}

func identityFaults() []Fault {
	return []Fault{
		{Name: "nodes have no permission to pull", Check: "registry/node-role", Inject: func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &c.NodeRole, PolicyArn: aws.String(PullOnly)})
			return err
		}},
		{Name: "nodes have permission to pull from other repositories", Check: "registry/node-role", Inject: func(ctx context.Context, c *Customer) error {
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
		{Name: "the caller has no permission to put images", Check: "identity/mirror-permissions", Inject: func(ctx context.Context, c *Customer) error {
			return c.setMirrorActions(ctx, slices.DeleteFunc(mirrorActions(), func(a string) bool { return a == "ecr:PutImage" })...)
		}},
		{Name: "the caller has no permissions", Check: "identity/mirror-permissions", Inject: func(ctx context.Context, c *Customer) error {
			_, err := c.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &c.User, PolicyName: aws.String(policyName)})
			return err
		}},
	}
}
