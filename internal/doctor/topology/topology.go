// SPDX-License-Identifier: Apache-2.0

// Package topology describes the network of a cluster, as far as it is known, for the
// picture in a report.
package topology

// Network is the VPC of a cluster with its subnets and endpoints. Each part that could not
// be read has the reason.
type Network struct {
	// VPC is the ID, and Name the tag of this name. Both are empty if they are not known.
	VPC, Name string
	Blocks    []string // CIDR ranges
	// Nodes is the number of nodes in EC2; negative if it is not known.
	Nodes int
	// Port is that of the webhook's pods.
	Port int32
	// Subnets are those that were checked.
	Subnets        []Subnet
	SubnetsUnknown string
	// Endpoints are the needed ones, missing or not. Without EndpointsUnknown, those
	// without a state are missing.
	Endpoints        []Endpoint
	EndpointsUnknown string
}

// Subnet is a subnet of the VPC.
type Subnet struct{ ID, Name, Zone, CIDR string }

// Endpoint is the VPC endpoint of a service.
type Endpoint struct {
	Service  string
	IsCASTAI bool
	ID       string
	State    string // as in EC2, such as available
}

// WithoutAccess returns the network without what AWS would tell.
func (n Network) WithoutAccess(reason string) Network {
	n.SubnetsUnknown, n.EndpointsUnknown, n.Nodes = reason, reason, -1
	return n
}
