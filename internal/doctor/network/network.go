// SPDX-License-Identifier: Apache-2.0

// Package network looks at the VPC of a cluster whose nodes have no route to the
// Internet: what its nodes need instead, and whether it lets them through.
//
// It asks the APIs of EC2 and EKS, and only reads. Whether a connection really
// works is not seen from there; that takes a pod in the cluster.
package network

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// Group is the name of the group.
const Group = "network"

// Config is what the checks need.
type Config struct {
	// AWS has the region of the cluster.
	AWS aws.Config
	// Partition as in ARNs, such as aws or aws-cn. Default: aws.
	Partition string
	// Cluster is the name of the EKS cluster. Without it VPC is needed, and what
	// only a cluster can tell is left out.
	Cluster string
	// VPC and Subnets, by their IDs. Default: those of the cluster and its nodes;
	// without a cluster all subnets of the VPC.
	VPC     string
	Subnets []string
	// Services of AWS that are needed.
	Services []Service
	// CASTAI are the services of CAST AI in the region; none if they are not known.
	CASTAI []Service
	// Port on which the webhook serves, and that the control plane dials. Default:
	// 9443.
	Port int32
}

// Service is one that a VPC endpoint leads to.
type Service struct {
	// Name is short: ecr.api, or CAST AI's api.
	Name string
	// FullName is that which an endpoint has. Default: that of AWS's service Name.
	FullName string
	// Gateway tells that its endpoint is one of route tables, as is that of S3.
	Gateway bool
	// Required services are those that no such cluster does without.
	Required bool
	// Why says who needs it.
	Why string
}

// vpc keeps what several checks ask.
type vpc struct {
	Config
	region string
	ec2    *ec2.Client
	eks    *eks.Client

	theCluster   doctor.Once[*ekstypes.Cluster]
	theNodes     doctor.Once[[]types.Instance]
	theirSubnets doctor.Once[[]types.Subnet]
	theSubnets   doctor.Once[[]types.Subnet]
	theEndpoints doctor.Once[[]types.VpcEndpoint]
	theGroups    doctor.Once[map[string]types.SecurityGroup]
}

// Checks returns the checks of the group.
func Checks(c Config) []doctor.Check {
	if c.Port == 0 {
		c.Port = 9443
	}
	if c.Partition == "" {
		c.Partition = "aws"
	}
	v := &vpc{Config: c, region: c.AWS.Region, ec2: ec2.NewFromConfig(c.AWS), eks: eks.NewFromConfig(c.AWS)}
	access := []string{Group + "/aws-access"}
	found := append(access, Group+"/cluster-vpc")
	return []doctor.Check{
		{Group: Group, Name: "aws-access", Run: v.access,
			What: "the APIs of EC2 and EKS answer",
			Why:  "everything else about the network is asked there"},
		{Group: Group, Name: "cluster-vpc", Needs: access, Run: v.clusterVPC,
			What: "the EKS cluster is there and active, and its VPC and subnets are known",
			Why:  "its VPC is what is looked at"},
		{Group: Group, Name: "cluster-endpoint", Needs: found, Run: v.clusterEndpoint,
			What: "the cluster's API server has a private address in the VPC",
			Why:  "nodes without a route to the Internet cannot join by the public one"},
		{Group: Group, Name: "vpc-dns", Needs: found, Run: v.dns,
			What: "the VPC has DNS support and DNS host names enabled",
			Why:  "private DNS of endpoints needs both; without it names resolve to public addresses"},
		{Group: Group, Name: "aws-endpoints", Needs: found, Run: v.awsEndpoints,
			What: "there is an endpoint for each service of AWS that nodes, images and credentials need",
			Why:  "nothing else leads to AWS from here"},
		{Group: Group, Name: "castai-endpoints", Needs: found, Run: v.castaiEndpoints,
			What: "there is an endpoint for each PrivateLink service of CAST AI",
			Why:  "nothing else leads to CAST AI from here"},
		{Group: Group, Name: "endpoint-state", Needs: found, Run: v.endpointState,
			What: "each of these endpoints is available",
			Why:  "one that is pending or rejected carries no traffic"},
		{Group: Group, Name: "endpoint-subnets", Needs: found, Run: v.endpointSubnets,
			What: "each interface endpoint has a subnet in each zone of the cluster",
			Why:  "from another zone it works at a price, and not when that zone fails"},
		{Group: Group, Name: "private-dns", Needs: found, Run: v.privateDNS,
			What: "private DNS is on for each interface endpoint",
			Why:  "otherwise the service's own name leads to its public address, that no node can reach"},
		{Group: Group, Name: "endpoint-security-groups", Needs: found, Run: v.endpointGroups,
			What: "the security groups of each interface endpoint let port 443 in from every subnet",
			Why:  "connections would hang until they time out"},
		{Group: Group, Name: "s3-route", Needs: found, Run: v.s3Route,
			What: "the S3 endpoint is in the route table of every subnet",
			Why:  "ECR sends pulls of layers to S3; without the route they time out"},
		{Group: Group, Name: "s3-policy", Needs: found, Run: v.s3Policy,
			What: "the policy of the S3 endpoint lets layers be read from ECR's bucket",
			Why:  "otherwise pulls end in 403 Forbidden after the manifest"},
		{Group: Group, Name: "control-plane-port", Needs: found, Run: v.controlPlanePort,
			What: "the control plane may reach the webhook's port on every node",
			Why:  "it dials the pod's own address; if it cannot, pods with public images are refused"},
		{Group: Group, Name: "subnet-tags", Needs: found, Run: v.subnetTags,
			What: "the subnets are tagged " + routable + "=true",
			Why:  "CAST AI looks for subnets with this tag"},
	}
}
