// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// PullOnly is the AWS managed policy for nodes that pull from ECR.
const PullOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"

// policyName is that of the inline policy of the mirroring user.
const policyName = "mirror"

// createIdentities creates the roles of the cluster and its nodes, and the user
// that mirrors.
func (c *Customer) createIdentities(ctx context.Context) error {
	c.NodeRole, c.User = c.Cluster+"-node", c.Cluster+"-mirror"
	for role, service := range map[string]string{c.NodeRole: "ec2.amazonaws.com", c.Cluster + "-cluster": "eks.amazonaws.com"} {
		trust := policyDocument(statement{Effect: "Allow", Principal: map[string]string{"Service": service}, Action: []string{"sts:AssumeRole"}})
		if _, err := c.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: &trust}); err != nil {
			return err
		}
	}
	if _, err := c.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &c.NodeRole, PolicyArn: aws.String(PullOnly)}); err != nil {
		return err
	}
	if _, err := c.iam.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &c.NodeRole}); err != nil {
		return err
	}
	if _, err := c.iam.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &c.NodeRole, RoleName: &c.NodeRole}); err != nil {
		return err
	}
	if _, err := c.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: &c.User}); err != nil {
		return err
	}
	key, err := c.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &c.User})
	if err != nil {
		return err
	}
	c.key, c.secret = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
	return c.setMirrorActions(ctx, mirrorActions()...)
}

// mirrorActions returns the actions that the mirroring guide requires.
func mirrorActions() []string {
	return []string{
		"ecr:DescribeRepositories", "ecr:CreateRepository", "ecr:TagResource", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy",
		"ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage", "ecr:BatchGetImage",
		"ecr:GetDownloadUrlForLayer",
	}
}

// setMirrorActions replaces the actions that the user may do on the repositories.
func (c *Customer) setMirrorActions(ctx context.Context, actions ...string) error {
	text := policyDocument(
		statement{Effect: "Allow", Action: []string{"ecr:GetAuthorizationToken"}, Resource: []string{"*"}},
		statement{Effect: "Allow", Action: actions, Resource: []string{fmt.Sprintf("arn:aws:ecr:%s:%s:repository/%s/*", c.Region, c.RegistryAccount, c.Prefix)}},
	)
	_, err := c.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &c.User, PolicyName: aws.String(policyName), PolicyDocument: &text})
	return err
}

// statement of an IAM policy.
type statement struct {
	Effect    string
	Principal any      `json:",omitempty"`
	Action    []string `json:",omitempty"`
	Resource  []string `json:",omitempty"`
	Condition any      `json:",omitempty"`
}

func policyDocument(all ...statement) string {
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		panic(err) // strings can always be marshaled
	}
	return string(text)
}

// CreateCluster creates the EKS cluster and its nodes. The API server answers at endpoint,
// with a certificate of the authority ca (PEM).
func (c *Customer) CreateCluster(ctx context.Context, endpoint string, ca []byte) error {
	c.clusterTags = map[string]string{"test:endpoint": endpoint, "test:ca": base64.StdEncoding.EncodeToString(ca)}
	return c.inOrder(ctx, step{"cluster", c.createCluster}, step{"nodes", c.createNodes})
}

// ListEndpoints lists the VPC endpoints of the account.
func (c *Customer) ListEndpoints(ctx context.Context) (ids []string, err error) {
	endpoints, err := c.describeEndpoints(ctx)
	for _, e := range endpoints {
		ids = append(ids, *e.VpcEndpointId)
	}
	return ids, err
}

// AdoptEndpoints makes the endpoints of AWS that something else has created known, so that
// faults can be injected into them.
func (c *Customer) AdoptEndpoints(ctx context.Context) error {
	endpoints, err := c.describeEndpoints(ctx)
	for _, e := range endpoints {
		if name, isAWS := strings.CutPrefix(*e.ServiceName, "com.amazonaws."+c.Region+"."); isAWS {
			c.Endpoints[name] = *e.VpcEndpointId
		}
	}
	return err
}

func (c *Customer) describeEndpoints(ctx context.Context) (endpoints []ec2types.VpcEndpoint, err error) {
	out, err := c.ec2.DescribeVpcEndpoints(ctx, &ec2.DescribeVpcEndpointsInput{})
	if err != nil {
		return nil, err
	}
	for _, e := range out.VpcEndpoints {
		if !strings.EqualFold(string(e.State), string(ec2types.StateDeleted)) { // AWS writes it in lower case as well
			endpoints = append(endpoints, e)
		}
	}
	return endpoints, nil
}

func (c *Customer) createCluster(ctx context.Context) error {
	out, err := c.eks.CreateCluster(ctx, &eks.CreateClusterInput{
		Name: &c.Cluster, RoleArn: aws.String("arn:aws:iam::" + c.Account + ":role/" + c.Cluster + "-cluster"),
		ResourcesVpcConfig: &ekstypes.VpcConfigRequest{SubnetIds: c.Subnets, EndpointPrivateAccess: aws.Bool(true), EndpointPublicAccess: aws.Bool(false)},
		Tags:               c.clusterTags,
	})
	if err != nil {
		return err
	}
	c.ClusterSG = *out.Cluster.ResourcesVpcConfig.ClusterSecurityGroupId
	return c.createNodeGroup(ctx, c.Cluster, c.Subnets)
}

func (c *Customer) createNodeGroup(ctx context.Context, cluster string, subnets []string) error {
	_, err := c.eks.CreateNodegroup(ctx, &eks.CreateNodegroupInput{
		ClusterName: &cluster, NodegroupName: aws.String("workers"), Subnets: subnets, NodeRole: aws.String("arn:aws:iam::" + c.Account + ":role/" + c.NodeRole),
	})
	return err
}

// createNodes creates two instances, as the node group would.
func (c *Customer) createNodes(ctx context.Context) error {
	const image = "ami-1e749f67" // which moto has in each region. To list its thousands of images takes a second
	for _, subnet := range c.Subnets[:2] {
		out, err := c.ec2.RunInstances(ctx, &ec2.RunInstancesInput{
			ImageId: aws.String(image), InstanceType: ec2types.InstanceTypeT3Medium, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			SubnetId: &subnet, SecurityGroupIds: []string{c.ClusterSG}, IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: &c.NodeRole},
			TagSpecifications: tagSpecifications(ec2types.ResourceTypeInstance, "kubernetes.io/cluster/"+c.Cluster, "owned"),
		})
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, *out.Instances[0].InstanceId)
	}
	return nil
}

// setSecurityGroup replaces the security groups of a node. moto stores them twice:
// for the instance, and for its network interface.
func (c *Customer) setSecurityGroup(ctx context.Context, node, group string) error {
	if _, err := c.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: &node, Groups: []string{group}}); err != nil {
		return err
	}
	out, err := c.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{node}})
	if err != nil {
		return err
	}
	_, err = c.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: out.Reservations[0].Instances[0].NetworkInterfaces[0].NetworkInterfaceId, Groups: []string{group},
	})
	return err
}
