// SPDX-License-Identifier: Apache-2.0

package doctor

// Element is a part of the picture of the network that a check concerns: one of the
// constants, or one endpoint or subnet.
type Element string

// The elements. Endpoints and subnets of one kind are also one element: a check or a
// finding that names it concerns all of them.
const (
	// NoElement is that of checks that concern nothing in the picture.
	NoElement Element = "none"

	Caller          Element = "caller" // the AWS credentials of the command
	ControlPlane    Element = "control-plane"
	Admission       Element = "admission" // the connection from the control plane to the webhook
	Webhook         Element = "webhook"
	Pods            Element = "pods" // of CAST AI
	Nodes           Element = "nodes"
	Egress          Element = "egress" // the connections from nodes to endpoints
	VPC             Element = "vpc"
	PrivateDNS      Element = "private-dns"
	Registry        Element = "registry"
	Internet        Element = "internet"
	Subnets         Element = "subnets"
	AWSEndpoints    Element = "aws-endpoints"
	CASTAIEndpoints Element = "castai-endpoints"
)

// Endpoint returns the element of the endpoint of a service of AWS or CAST AI, such as
// ecr.api or grpc.
func Endpoint(service string) Element { return "endpoint/" + Element(service) }

// Endpoints returns the element of each service.
func Endpoints(services ...string) (elements []Element) {
	for _, s := range services {
		elements = append(elements, Endpoint(s))
	}
	return elements
}

// Subnet returns the element of a subnet.
func Subnet(id string) Element { return "subnet/" + Element(id) }

// Concerned returns the elements of a result: those of the finding or, if it names none,
// those of the check.
func (r Result) Concerned() []Element {
	if len(r.Finding.Elements) > 0 {
		return r.Finding.Elements
	}
	return r.Check.Elements
}
