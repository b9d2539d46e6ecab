// SPDX-License-Identifier: Apache-2.0

//go:build report

package report

import "github.com/castai/privatelink-webhook/internal/doctor"

// fault breaks a healthy customer in one way.
type fault struct {
	name   string
	inject func(*customer)
	// parts are the accessible names, up to the state, of all parts of the picture that
	// are neither ok nor unknown because of a failure.
	parts []string
}

// allEndpoints are the parts of the interface endpoints.
var allEndpoints = []string{
	"Endpoint ecr.api: failed", "Endpoint ecr.dkr: failed", "Endpoint sts: failed", "Endpoint ec2: failed", "Endpoint eks: failed", "Endpoint eks-auth: failed", "Endpoint logs: failed",
	"Endpoint elasticloadbalancing: failed", "Endpoint autoscaling: failed",
	"CAST AI endpoint api: failed", "CAST AI endpoint grpc: failed", "CAST AI endpoint api-grpc: failed", "CAST AI endpoint artifacts: failed", "CAST AI endpoint kvisor: failed", "CAST AI endpoint telemetry: failed",
}

// otherPort is a rule that allows the control plane another port than the webhook's.
const otherPort = `<ipProtocol>tcp</ipProtocol><fromPort>443</fromPort><toPort>443</toPort><groups><item><groupId>sg-0c1c1c1c1c1c1c1c1</groupId></item></groups>`

const (
	subnetA = "Subnet subnet-00000000000000001"
	subnetB = "Subnet subnet-00000000000000002"
	subnetC = "Subnet subnet-00000000000000003"
)

func faults() []fault {
	return append(networkFaults(), otherFaults()...)
}

// networkFaults are found by the checks of the network in the responses of AWS.
func networkFaults() []fault {
	const otherBucket = `{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::my-own-bucket/*"}]}`
	const noLogin = `{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage", "Resource": "*"}]}`
	return []fault{
		{"a required AWS endpoint is missing", func(c *customer) { c.remove("ecr.api") }, []string{"Endpoint ecr.api: failed"}},
		{"the S3 endpoint is missing", func(c *customer) { c.remove("s3") }, []string{"Endpoint s3: failed"}},
		{"a recommended AWS endpoint is missing", func(c *customer) { c.remove("autoscaling") }, []string{"Endpoint autoscaling: warning"}},
		{"an endpoint of CAST AI is missing", func(c *customer) { c.remove("grpc") }, []string{"CAST AI endpoint grpc: failed"}},
		{"an endpoint is pending acceptance", func(c *customer) { c.endpoint("api").state = "pendingAcceptance" }, []string{"CAST AI endpoint api: failed"}},
		{"an endpoint is rejected", func(c *customer) { c.endpoint("kvisor").state = "rejected" }, []string{"CAST AI endpoint kvisor: failed"}},
		{"an AWS endpoint is pending", func(c *customer) { c.endpoint("sts").state = "pending" }, []string{"Endpoint sts: failed"}},
		{"an endpoint has no subnet in a zone", func(c *customer) { c.endpoint("ecr.dkr").subnets = c.endpoint("ecr.dkr").subnets[:2] }, []string{"Endpoint ecr.dkr: warning"}},
		{"private DNS is disabled for a CAST AI service", func(c *customer) { c.endpoint("telemetry").hasDNS = false }, []string{"CAST AI endpoint telemetry: failed"}},
		{"private DNS is disabled for an AWS service", func(c *customer) { c.endpoint("ecr.dkr").hasDNS = false }, []string{"Endpoint ecr.dkr: failed"}},
		{"a subnet has no route to S3", func(c *customer) { c.subnets[1].table = "rtb-0ffffffffffffffff" }, []string{"Endpoint s3: failed", subnetB + ": failed"}},
		{"the policy of the S3 endpoint allows only another bucket", func(c *customer) { c.endpoint("s3").policy = otherBucket }, []string{"Endpoint s3: failed"}},
		{"the policy of ecr.api denies logins", func(c *customer) { c.endpoint("ecr.api").policy = noLogin }, []string{"Endpoint ecr.api: failed"}},
		{"the cluster is being created", func(c *customer) { c.status = "CREATING" }, []string{"VPC: failed"}},
		{"the API server has no private endpoint", func(c *customer) { c.hasPrivateAccess = false }, []string{"Control plane: failed"}},
		{"the VPC has no DNS support", func(c *customer) { c.hasDNS = false }, []string{"Private DNS: failed"}},
		{"nodes use another DNS server", func(c *customer) { c.dnsServer = "10.0.0.53" }, []string{"Private DNS: warning"}},
		{"the endpoints allow another network", func(c *customer) { c.endpointIngress = "10.9.0.0/16" }, allEndpoints},
		{"the nodes allow the control plane another port", func(c *customer) { c.nodeIngress = otherPort }, []string{"Control plane to webhook: failed"}},
		{"nodes may not connect to port 443", func(c *customer) {
			c.nodeEgress = `<ipProtocol>tcp</ipProtocol><fromPort>80</fromPort><toPort>80</toPort><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges>`
		}, []string{"Nodes to endpoints: failed"}},
		{"a network ACL denies all", func(c *customer) { c.aclAction = "deny" }, []string{subnetA + ": failed", subnetB + ": failed", subnetC + ": failed"}},
		{"a private zone hides S3", func(c *customer) { c.zone = "s3." + region + ".amazonaws.com" }, []string{"Private DNS: failed"}},
		{"a subnet has a route to the internet", func(c *customer) { c.subnets[2].internet = "nat-0a5a5a5a5a5a5a5a5" }, []string{"Internet: warning", subnetC + ": warning"}},
		{"a subnet is tagged false", func(c *customer) { c.subnets[0].routable = "false" }, []string{subnetA + ": failed"}},
	}
}

// otherFaults have the findings of the other groups.
func otherFaults() (all []fault) {
	for _, f := range []struct{ name, check, part string }{
		{"the new revision crashes", "cluster/rollout", "Webhook"},
		{"a NetworkPolicy blocks the API server", "cluster/network-policy", "Control plane to webhook"},
		{"the caBundle is of another CA", "cluster/ca-bundle", "Control plane to webhook"},
		{"a pod has a public image", "cluster/pods", "Pods of CAST AI"},
		{"the operator fetches charts from a public repository", "cluster/chart-repository", "Pods of CAST AI"},
		{"a quota refuses the webhook's pods", "cluster/admission", "Webhook"},
		{"another webhook refuses the pod", "cluster/rewrite", "Control plane to webhook"},
		{"the webhook configuration was changed", "cluster/webhook-configuration", "Control plane"},
		{"an image is missing", "registry/images", "Private registry"},
		{"nodes have no permission to pull", "registry/node-role", "Nodes"},
		{"the caller has no permission to put images", "identity/mirror-permissions", "AWS credentials"},
		{"S3 does not accept connections", "inside/connect-s3", "Endpoint s3"},
		{"pods do not reach the chart repository", "inside/charts", "Pods of CAST AI"},
		{"DNS does not answer", "inside/dns", "Private DNS"},
	} {
		all = append(all, fault{f.name, func(c *customer) {
			c.findings[f.check] = doctor.Failf("see the guide", "%s", f.name)
		}, []string{f.part + ": failed"}})
	}
	return all
}
