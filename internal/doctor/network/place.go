// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// routable is the key of the tag of subnets that CAST AI uses.
// https://github.com/castai/privatelink-aws
const routable = "cast.ai/routable"

// missing is what EKS calls a cluster that is not there.
const missing = "ResourceNotFoundException"

func (v *vpc) access(ctx context.Context) doctor.Finding {
	if v.Cluster == "" && v.VPC == "" {
		return doctor.Unknownf("name the EKS cluster or the VPC: aws eks list-clusters --region "+v.region, "neither a cluster nor a VPC was named")
	}
	if _, err := v.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{MaxResults: aws.Int32(5)}); err != nil {
		return awsapi.Unseen("ec2:DescribeVpcs", err)
	}
	if v.Cluster != "" {
		if _, err := v.cluster(ctx); err != nil && awsapi.Code(err) != missing {
			return unseen(err)
		}
	}
	return doctor.OKf("they answer in %s", v.region)
}

func (v *vpc) clusterVPC(ctx context.Context) doctor.Finding {
	if v.Cluster != "" {
		c, err := v.cluster(ctx)
		switch {
		case awsapi.Code(err) == missing:
			return doctor.Failf("aws eks list-clusters --region "+v.region, "there is no cluster %s in %s", v.Cluster, v.region)
		case err != nil:
			return unseen(err)
		case c.Status != ekstypes.ClusterStatusActive && c.Status != ekstypes.ClusterStatusUpdating:
			return doctor.Failf(v.describe(), "the cluster %s is %s", v.Cluster, c.Status)
		}
	}
	subnets, err := v.subnets(ctx)
	if err != nil {
		return unseen(err)
	}
	id, err := v.id(ctx)
	if err != nil {
		return unseen(err)
	}
	var details []string
	for _, s := range subnets {
		details = append(details, fmt.Sprintf("%s %s %s", *s.SubnetId, aws.ToString(s.CidrBlock), aws.ToString(s.AvailabilityZone)))
	}
	return doctor.OKf("%s, %d subnets in %d zones", id, len(subnets), len(zones(subnets))).With(details...)
}

// describe is the command that shows the cluster.
func (v *vpc) describe() string {
	return fmt.Sprintf("aws eks describe-cluster --region %s --name %s", v.region, v.Cluster)
}

func (v *vpc) clusterEndpoint(ctx context.Context) doctor.Finding {
	if v.Cluster == "" {
		return withoutCluster
	}
	c, err := v.cluster(ctx)
	if err != nil {
		return unseen(err)
	}
	if !c.ResourcesVpcConfig.EndpointPrivateAccess {
		return doctor.Failf(fmt.Sprintf("aws eks update-cluster-config --region %s --name %s --resources-vpc-config endpointPrivateAccess=true\nTerraform: vpc_config { endpoint_private_access = true }", v.region, v.Cluster),
			"private access to the API server of %s is off", v.Cluster)
	}
	return doctor.OKf("private access is on")
}

// withoutCluster is the finding of what only a cluster can tell.
var withoutCluster = doctor.Finding{Status: doctor.Skipped, Found: "no cluster was named, only a VPC: name the EKS cluster to have it"}

func (v *vpc) subnetTags(ctx context.Context) doctor.Finding {
	subnets, err := v.subnets(ctx)
	if err != nil {
		return unseen(err)
	}
	var without []string
	for _, s := range subnets {
		if !slices.ContainsFunc(s.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == routable && aws.ToString(t.Value) == "true" }) {
			without = append(without, *s.SubnetId)
		}
	}
	if len(without) > 0 {
		return doctor.Failf(fmt.Sprintf("aws ec2 create-tags --region %s --resources %s --tags Key=%s,Value=true\nTerraform: resource \"aws_ec2_tag\" { resource_id = SUBNET, key = %q, value = \"true\" }", v.region, strings.Join(without, " "), routable, routable),
			"%d of %d subnets are without it", len(without), len(subnets)).With(without...)
	}
	return doctor.OKf("all %d are", len(subnets))
}

// zones of subnets, each once.
func zones(subnets []types.Subnet) (all []string) {
	for _, s := range subnets {
		all = append(all, aws.ToString(s.AvailabilityZone))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
