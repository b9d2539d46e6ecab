// SPDX-License-Identifier: Apache-2.0

// Package network checks the VPC of an EKS cluster whose nodes have no route to
// the internet: VPC endpoints, DNS, routes and security groups.
//
// Each check gathers facts from the APIs of EC2 and EKS, evaluates them in a
// function without I/O, and reports a finding. It only reads. Those APIs do not
// show whether a connection really works: package inside tests that from a pod.
package network

import (
	"cmp"
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/route53"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
)

// Group is the name of the group.
const Group = "network"

// Config configures the checks.
type Config struct {
	// AWS is the configuration of the SDK, with the region of the cluster.
	AWS aws.Config
	// Partition as in ARNs, such as aws-cn. Default: aws.
	Partition string
	// Cluster is the name of the EKS cluster. If it is empty, VPC is required, and
	// checks that need a cluster are skipped.
	Cluster string
	// Expected is what the kubeconfig tells about the cluster.
	Expected awsapi.Expected
	// VPC and Subnets are IDs. Default: those of the cluster and its nodes; without
	// a cluster, all subnets of the VPC.
	VPC     string
	Subnets []string
	// Services are the AWS services that need an endpoint.
	Services []Service
	// CASTAI are the PrivateLink services of CAST AI; empty if they are not known in
	// the region.
	CASTAI []Service
	// Registry is the registry in ECR, with the prefix of the repositories; "" if it is
	// not in ECR. RegistryRegion is its region.
	Registry, RegistryRegion string
	// Install are the commands that install the bundle, as remedies print them.
	Install string
	// NodeRoles returns the ARNs of the roles of nodes, and Caller that of the user or
	// role that asks. Both are optional.
	NodeRoles func(context.Context) ([]string, error)
	Caller    func(context.Context) (string, error)
	// Port of the webhook's pods, which the control plane connects to. Default: 9443.
	Port int32
}

// Checks returns the checks of the group.
func Checks(config Config) []doctor.Check {
	checks, _ := Inspect(config)
	return checks
}

// Inspect returns the checks of the group, and a function that describes the network with
// the facts that they have read for their results.
func Inspect(config Config) ([]doctor.Check, func(context.Context, []doctor.Result) topology.Network) {
	config.Port = cmp.Or(config.Port, 9443)
	if config.Partition == "" {
		config.Partition = "aws"
	}
	c := &checker{Config: config, region: config.AWS.Region, ec2: ec2.NewFromConfig(config.AWS), eks: eks.NewFromConfig(config.AWS), organizations: organizations.NewFromConfig(config.AWS), route53: route53.NewFromConfig(config.AWS)}
	access := []string{Group + "/aws-access"}
	return c.checks(access, append(access, vpcCheck)), c.describe
}

// checks returns the checks of the group. access and vpc are the checks that they need.
func (c *checker) checks(access, vpc []string) []doctor.Check {
	return slices.Concat(c.vpcChecks(access, vpc), c.endpointChecks(vpc), c.pathChecks(vpc))
}

// vpcChecks returns the checks of the VPC and the cluster in it.
func (c *checker) vpcChecks(access, vpc []string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "aws-access", Elements: []doctor.Element{doctor.Caller}, Access: true, Run: c.checkAccess,
			What: "the EC2 and EKS APIs respond",
			Why:  "all other network checks use them"},
		{Group: Group, Name: vpcName, Elements: []doctor.Element{doctor.VPC}, Needs: access, Access: true, Run: c.checkClusterVPC,
			What: "the EKS cluster exists and is active, and its VPC and subnets are known",
			Why:  "all other network checks inspect this VPC"},
		{Group: Group, Name: "registry-region", Elements: []doctor.Element{doctor.Registry}, Needs: vpc, Run: c.checkRegion,
			What: "the registry is in the region of the cluster",
			Why:  "ECR redirects layer downloads to S3 in its own region, which the S3 endpoint of the VPC does not lead to"},
		{Group: Group, Name: "isolation", Elements: []doctor.Element{doctor.Internet, doctor.Subnets}, Needs: vpc, Run: c.checkIsolation,
			What: "the subnets have no route to the internet",
			Why:  "with one, nodes can pull public images and send data elsewhere"},
		{Group: Group, Name: "cluster-endpoint", Elements: []doctor.Element{doctor.ControlPlane}, Needs: vpc, Run: c.checkClusterEndpoint,
			What: "the cluster's API server has a private endpoint in the VPC",
			Why:  "nodes without a route to the internet cannot join through the public endpoint"},
		{Group: Group, Name: "vpc-dns", Elements: []doctor.Element{doctor.PrivateDNS}, Needs: vpc, Run: c.checkDNS,
			What: "DNS support and DNS hostnames are enabled in the VPC, and nodes use its resolver",
			Why:  "private DNS of endpoints needs all three; otherwise names resolve to public addresses"},
	}
}

// endpointChecks returns the checks of the VPC endpoints, which are all that nodes reach.
func (c *checker) endpointChecks(vpc []string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "aws-endpoints", Elements: []doctor.Element{doctor.AWSEndpoints}, Needs: vpc, Run: c.checkAWSEndpoints,
			What: "there is a VPC endpoint for each AWS service that nodes, images and credentials need",
			Why:  "there is no other route to AWS"},
		{Group: Group, Name: "castai-endpoints", Elements: []doctor.Element{doctor.CASTAIEndpoints}, Needs: vpc, Run: c.checkCASTAIEndpoints,
			What: "there is a VPC endpoint for each PrivateLink service of CAST AI",
			Why:  "there is no other route to CAST AI"},
		{Group: Group, Name: "endpoint-state", Elements: []doctor.Element{doctor.AWSEndpoints, doctor.CASTAIEndpoints}, Needs: vpc, Run: c.checkEndpointState,
			What: "each of these endpoints is available",
			Why:  "a pending or rejected endpoint carries no traffic"},
		{Group: Group, Name: "endpoint-subnets", Elements: []doctor.Element{doctor.AWSEndpoints, doctor.CASTAIEndpoints}, Needs: vpc, Run: c.checkEndpointSubnets,
			What: "each interface endpoint has a subnet in each availability zone of the cluster",
			Why:  "traffic to another zone is charged, and stops when that zone fails"},
		{Group: Group, Name: "private-dns", Elements: []doctor.Element{doctor.AWSEndpoints, doctor.CASTAIEndpoints}, Needs: vpc, Run: c.checkPrivateDNS,
			What: "private DNS is enabled for each interface endpoint",
			Why:  "otherwise the name of the service resolves to a public address that nodes cannot reach"},
		{Group: Group, Name: "endpoint-security-groups", Elements: []doctor.Element{doctor.AWSEndpoints, doctor.CASTAIEndpoints}, Needs: vpc, Run: c.checkEndpointSecurityGroups,
			What: "the security groups of each interface endpoint allow port 443 from every subnet",
			Why:  "otherwise connections time out"},
		{Group: Group, Name: "s3-route", Elements: []doctor.Element{doctor.Endpoint("s3"), doctor.Subnets}, Needs: vpc, Run: c.checkS3Route,
			What: "the route table of every subnet has a route to the S3 endpoint",
			Why:  "ECR redirects layer downloads to S3; without the route they time out"},
		{Group: Group, Name: "s3-policy", Elements: []doctor.Element{doctor.Endpoint("s3")}, Needs: vpc, Run: c.checkS3Policy,
			What: "the policy of the S3 endpoint allows layers to be read from ECR's bucket",
			Why:  "otherwise pulls fail with 403 Forbidden after the manifest"},
		{Group: Group, Name: "endpoint-policies", Elements: []doctor.Element{doctor.AWSEndpoints, doctor.CASTAIEndpoints}, Needs: vpc, Run: c.checkEndpointPolicies,
			What: "the policies of the interface endpoints allow what nodes and pods request",
			Why:  "otherwise nodes do not join, and pulls and logins fail with 403 Forbidden or AccessDenied"},
	}
}

// pathChecks returns the checks of what can cut off a node from endpoints that work, or the control plane from the webhook.
func (c *checker) pathChecks(vpc []string) []doctor.Check {
	return []doctor.Check{
		{Group: Group, Name: "private-zones", Elements: []doctor.Element{doctor.PrivateDNS}, Needs: vpc, Run: c.checkPrivateZones,
			What: "no private hosted zone of the VPC hides the hosts that nodes and pods connect to",
			Why:  "the VPC asks no other zone: a host without a record in it does not resolve"},
		{Group: Group, Name: "node-egress", Elements: []doctor.Element{doctor.Egress}, Needs: vpc, Run: c.checkNodeEgress,
			What: "the security groups of nodes allow port 443 to the endpoints, S3 and the API server",
			Why:  "otherwise connections time out"},
		{Group: Group, Name: "network-acls", Elements: []doctor.Element{doctor.Subnets}, Needs: vpc, Run: c.checkNetworkACLs,
			What: "the network ACLs allow these connections and those to the webhook, and their answers",
			Why:  "network ACLs have no state: without a rule for the answers, connections time out as well"},
		{Group: Group, Name: "control-plane-port", Elements: []doctor.Element{doctor.Admission}, Needs: vpc, Run: c.checkControlPlanePort,
			What: "the control plane can reach the webhook's port on every node",
			Why:  "the API server connects to the pod's address; if it cannot, pods with public images are rejected"},
		{Group: Group, Name: "subnet-tags", Elements: []doctor.Element{doctor.Subnets}, Needs: vpc, Run: c.checkSubnetTags,
			What: "the subnets are tagged " + routableTag + "=true",
			Why:  "CAST AI selects subnets by this tag"},
	}
}
