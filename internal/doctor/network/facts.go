// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// failure is a request that failed.
type failure struct {
	action string // the IAM action that it needs
	err    error
}

func (f *failure) Error() string { return f.action + ": " + awsapi.Reason(f.err) }

func (f *failure) Unwrap() error { return f.err }

func (f *failure) finding() doctor.Finding { return awsapi.Unseen(f.action, f.err) }

func failed(action string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{action, err}
}

// unseen is the finding for an error of one of the facts below.
func unseen(err error) doctor.Finding {
	if f, ok := err.(*failure); ok {
		return f.finding()
	}
	return awsapi.Unseen("ec2:Describe*", err)
}

func (v *vpc) cluster(ctx context.Context) (*ekstypes.Cluster, error) {
	return v.theCluster.Get(ctx, func(ctx context.Context) (*ekstypes.Cluster, error) {
		out, err := v.eks.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &v.Cluster})
		if err != nil {
			return nil, failed("eks:DescribeCluster", err)
		}
		if out.Cluster.ResourcesVpcConfig == nil {
			return nil, failed("eks:DescribeCluster", fmt.Errorf("cluster %s has no VPC", v.Cluster))
		}
		return out.Cluster, nil
	})
}

func (v *vpc) nodes(ctx context.Context) ([]types.Instance, error) {
	return v.theNodes.Get(ctx, func(ctx context.Context) ([]types.Instance, error) {
		if v.Cluster == "" {
			return nil, nil
		}
		all, err := awsapi.Nodes(ctx, v.ec2, v.Cluster)
		return all, failed("ec2:DescribeInstances", err)
	})
}

// face is a network interface of a node. Pods may have addresses of another one
// than the node itself, with a subnet and security groups of its own.
// https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network.html
type face struct {
	subnet string
	groups []string
}

func faces(n types.Instance) (all []face) {
	for _, i := range n.NetworkInterfaces {
		all = append(all, face{aws.ToString(i.SubnetId), groupsOf(i.Groups)})
	}
	if len(all) == 0 {
		all = []face{{aws.ToString(n.SubnetId), groupsOf(n.SecurityGroups)}}
	}
	return all
}

// id of the VPC.
func (v *vpc) id(ctx context.Context) (string, error) {
	if v.Cluster == "" || v.VPC != "" {
		return v.VPC, nil
	}
	c, err := v.cluster(ctx)
	if err != nil {
		return "", err
	}
	return aws.ToString(c.ResourcesVpcConfig.VpcId), nil
}

// in filters by the VPC.
func (v *vpc) in(ctx context.Context) ([]types.Filter, error) {
	id, err := v.id(ctx)
	return []types.Filter{{Name: aws.String("vpc-id"), Values: []string{id}}}, err
}

// allSubnets are those of the VPC: endpoints need not be in those of the nodes.
func (v *vpc) allSubnets(ctx context.Context) ([]types.Subnet, error) {
	return v.theirSubnets.Get(ctx, func(ctx context.Context) (all []types.Subnet, err error) {
		in, err := v.in(ctx)
		if err != nil {
			return nil, err
		}
		pages := ec2.NewDescribeSubnetsPaginator(v.ec2, &ec2.DescribeSubnetsInput{Filters: in})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, failed("ec2:DescribeSubnets", err)
			}
			all = append(all, page.Subnets...)
		}
		return all, nil
	})
}

// subnets are those that are looked at: of the control plane and of the nodes.
func (v *vpc) subnets(ctx context.Context) ([]types.Subnet, error) {
	return v.theSubnets.Get(ctx, func(ctx context.Context) ([]types.Subnet, error) {
		all, err := v.allSubnets(ctx)
		if err != nil {
			return nil, err
		}
		wanted := v.Subnets
		if len(wanted) == 0 && v.Cluster != "" {
			c, err := v.cluster(ctx)
			if err != nil {
				return nil, err
			}
			wanted = slices.Clone(c.ResourcesVpcConfig.SubnetIds)
			nodes, err := v.nodes(ctx)
			if err != nil {
				return nil, err
			}
			for _, n := range nodes {
				for _, f := range faces(n) {
					wanted = append(wanted, f.subnet)
				}
			}
		}
		if len(wanted) > 0 {
			all = slices.DeleteFunc(slices.Clone(all), func(s types.Subnet) bool { return !slices.Contains(wanted, aws.ToString(s.SubnetId)) })
		}
		if len(all) == 0 {
			return nil, failed("ec2:DescribeSubnets", fmt.Errorf("the VPC has none of the subnets %s", doctor.List(wanted, 5)))
		}
		return all, nil
	})
}

// endpoints are those of the VPC, also those that are not available.
func (v *vpc) endpoints(ctx context.Context) ([]types.VpcEndpoint, error) {
	return v.theEndpoints.Get(ctx, func(ctx context.Context) (all []types.VpcEndpoint, err error) {
		in, err := v.in(ctx)
		if err != nil {
			return nil, err
		}
		pages := ec2.NewDescribeVpcEndpointsPaginator(v.ec2, &ec2.DescribeVpcEndpointsInput{Filters: in})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, failed("ec2:DescribeVpcEndpoints", err)
			}
			all = append(all, page.VpcEndpoints...)
		}
		return slices.DeleteFunc(all, func(e types.VpcEndpoint) bool {
			return is(e, types.StateDeleted) || is(e, types.StateDeleting)
		}), nil
	})
}

// groups are the security groups of the VPC by ID.
func (v *vpc) groups(ctx context.Context) (map[string]types.SecurityGroup, error) {
	return v.theGroups.Get(ctx, func(ctx context.Context) (map[string]types.SecurityGroup, error) {
		in, err := v.in(ctx)
		if err != nil {
			return nil, err
		}
		all := map[string]types.SecurityGroup{}
		pages := ec2.NewDescribeSecurityGroupsPaginator(v.ec2, &ec2.DescribeSecurityGroupsInput{Filters: in})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, failed("ec2:DescribeSecurityGroups", err)
			}
			for _, g := range page.SecurityGroups {
				all[aws.ToString(g.GroupId)] = g
			}
		}
		return all, nil
	})
}
