// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// routableTag is the key of the tag that CAST AI selects subnets by.
// https://github.com/castai/privatelink-aws
const routableTag = "cast.ai/routable"

func (c *checker) checkAccess(ctx context.Context) doctor.Finding {
	if c.Cluster == "" && c.VPC == "" {
		return doctor.Unknownf("name the EKS cluster with --eks-cluster or the VPC with --vpc: aws eks list-clusters --region "+c.region, "neither the EKS cluster nor the VPC is known")
	}
	if _, err := c.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{MaxResults: aws.Int32(5)}); err != nil {
		return awsapi.Unknown(awsapi.NewError("ec2:DescribeVpcs", err))
	}
	if c.Cluster != "" {
		if _, err := c.cluster(ctx); err != nil && awsapi.Code(err) != awsapi.ClusterNotFound {
			return awsapi.Unknown(err)
		}
	}
	return doctor.OKf("both respond in %s", c.region)
}

func (c *checker) checkClusterVPC(ctx context.Context) doctor.Finding {
	if c.Cluster != "" {
		cluster, err := c.cluster(ctx)
		switch {
		case awsapi.Code(err) == awsapi.ClusterNotFound:
			return doctor.Failf("aws eks list-clusters --region "+c.region+"\nname another --eks-cluster, its --region, or the --profile of its account", "there is no cluster %s in %s", c.Cluster, c.region)
		case err != nil:
			return awsapi.Unknown(err)
		case cluster.status != ekstypes.ClusterStatusActive && cluster.status != ekstypes.ClusterStatusUpdating:
			return doctor.Failf(fmt.Sprintf("aws eks describe-cluster --region %s --name %s", c.region, c.Cluster), "cluster %s is %s", c.Cluster, cluster.status)
		}
	}
	if f, isWrong, err := c.checkInput(ctx); isWrong {
		return f
	} else if err != nil {
		return awsapi.Unknown(err)
	}
	subnets, err := c.subnets(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	id, err := c.vpcID(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	var details []string
	for _, s := range subnets {
		details = append(details, s.String())
	}
	return doctor.OKf("%s, %d subnets in %d zones", id, len(subnets), len(zones(subnets))).With(details...)
}

// checkRegion checks the region of the registry.
func (c *checker) checkRegion(context.Context) doctor.Finding {
	switch {
	case c.Registry == "":
		return doctor.Skippedf("the registry is not in ECR")
	case c.RegistryRegion != c.region:
		host, path, _ := strings.Cut(c.Registry, "/")
		here := strings.Replace(host, "."+c.RegistryRegion+".", "."+c.region+".", 1) + "/" + path
		return doctor.Failf("mirror into the region of the cluster: set registry: "+strings.TrimSuffix(here, "/")+" in privatelink.yaml, then:\nprivatelink mirror --config privatelink.yaml\n"+c.Install,
			"the registry is in %s, and the cluster in %s", c.RegistryRegion, c.region)
	}
	return doctor.OKf("both are in %s", c.region)
}

func (c *checker) checkClusterEndpoint(ctx context.Context) doctor.Finding {
	if c.Cluster == "" {
		return skippedWithoutCluster()
	}
	cluster, err := c.cluster(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	if !cluster.hasPrivateAccess {
		return doctor.Failf(fmt.Sprintf("aws eks update-cluster-config --region %s --name %s --resources-vpc-config endpointPrivateAccess=true\nTerraform: vpc_config { endpoint_private_access = true }", c.region, c.Cluster),
			"private access to the API server of %s is disabled", c.Cluster)
	}
	return doctor.OKf("private access is enabled")
}

// skippedWithoutCluster is the finding of a check that needs a cluster.
func skippedWithoutCluster() doctor.Finding {
	return doctor.Skippedf("only a VPC was given: name the EKS cluster with --eks-cluster to run this check")
}

func (c *checker) checkSubnetTags(ctx context.Context) doctor.Finding {
	subnets, err := c.subnets(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	routes, err := c.routing(ctx)
	if err != nil { // a public subnet must not be tagged
		return awsapi.Unknown(err)
	}
	return reportSubnetTags(c.region, filter(subnets, func(s subnet) bool { return !s.isPodOnly && !routes.isPublic(s) }))
}

// reportSubnetTags reports untagged ones of the subnets in which CAST AI may create
// nodes: no public ones, and none for pods only.
func reportSubnetTags(region string, subnets []subnet) doctor.Finding {
	if len(subnets) == 0 {
		return doctor.Skippedf("all subnets are public: see %s/isolation", Group)
	}
	var untagged []string
	var elements []doctor.Element
	for _, s := range subnets {
		if !s.isRoutable {
			untagged, elements = append(untagged, s.id), append(elements, doctor.Subnet(s.id))
		}
	}
	if len(untagged) > 0 {
		return doctor.Failf(fmt.Sprintf("aws ec2 create-tags --region %s --resources %s --tags Key=%s,Value=true\nTerraform: resource \"aws_ec2_tag\" { resource_id = SUBNET, key = %q, value = \"true\" }", region, strings.Join(untagged, " "), routableTag, routableTag),
			"%d of %d subnets do not have the tag", len(untagged), len(subnets)).With(untagged...).At(elements...)
	}
	return doctor.OKf("all %d subnets have the tag", len(subnets))
}
