// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// Nodes returns the instances that run as nodes of an EKS cluster. The cloud
// provider requires this tag, so EKS, CAST AI and Karpenter all set it. The account may
// hide the instances of EKS Auto Mode from callers that do not ask for managed ones.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ManagedResourceVisibilitySettings.html
func Nodes(ctx context.Context, client *ec2.Client, cluster string) (instances []types.Instance, err error) {
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{IncludeManagedResources: aws.Bool(true), Filters: []types.Filter{
		{Name: aws.String("tag:kubernetes.io/cluster/" + cluster), Values: []string{"owned", "shared"}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running"}},
	}})
	reservations, err := Collect(ctx, "ec2:DescribeInstances", pages, func(p *ec2.DescribeInstancesOutput) []types.Reservation { return p.Reservations })
	for _, r := range reservations {
		instances = append(instances, r.Instances...)
	}
	return instances, err
}

// NodeGroups returns the node groups of an EKS cluster, also those without a node.
func NodeGroups(ctx context.Context, client *eks.Client, cluster string) (groups []ekstypes.Nodegroup, err error) {
	pages := eks.NewListNodegroupsPaginator(client, &eks.ListNodegroupsInput{ClusterName: &cluster})
	names, err := Collect(ctx, "eks:ListNodegroups", pages, func(p *eks.ListNodegroupsOutput) []string { return p.Nodegroups })
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		out, err := client.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &name})
		if err != nil {
			return nil, NewError("eks:DescribeNodegroup", err)
		}
		groups = append(groups, *out.Nodegroup)
	}
	return groups, nil
}
