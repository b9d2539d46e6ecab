// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// cluster is an EKS cluster.
type cluster struct {
	status  ekstypes.ClusterStatus
	vpc     string
	subnets []string
	// securityGroups are those of the control plane: first the cluster security
	// group, which EKS creates, then the additional ones.
	securityGroups   []string
	hasPrivateAccess bool
	// family is that of pods, and of the traffic between the control plane and them.
	family family
}

// family is a family of IP addresses.
type family int

const (
	ipv4 family = iota
	ipv6
)

func newCluster(c *ekstypes.Cluster) cluster {
	vpc, f := c.ResourcesVpcConfig, ipv4
	if n := c.KubernetesNetworkConfig; n != nil && n.IpFamily == ekstypes.IpFamilyIpv6 {
		f = ipv6
	}
	return cluster{
		status: c.Status, family: f, vpc: aws.ToString(vpc.VpcId), subnets: vpc.SubnetIds, hasPrivateAccess: vpc.EndpointPrivateAccess,
		securityGroups: append([]string{aws.ToString(vpc.ClusterSecurityGroupId)}, vpc.SecurityGroupIds...),
	}
}

// node is an instance of the cluster.
type node struct {
	id         string
	interfaces []networkInterface
	subnet     string // of the node itself
}

// networkInterface is one of a node. Pods may use other ones than the node
// itself, with their own subnet and security groups.
// https://docs.aws.amazon.com/eks/latest/userguide/cni-custom-network.html
type networkInterface struct {
	subnet         string
	securityGroups []string
}

func newNode(i types.Instance) node {
	n := node{id: aws.ToString(i.InstanceId), subnet: aws.ToString(i.SubnetId)}
	for _, ni := range i.NetworkInterfaces {
		n.interfaces = append(n.interfaces, networkInterface{aws.ToString(ni.SubnetId), groupIDs(ni.Groups)})
	}
	if len(n.interfaces) == 0 {
		n.interfaces = []networkInterface{{aws.ToString(i.SubnetId), groupIDs(i.SecurityGroups)}}
	}
	return n
}

func groupIDs(groups []types.GroupIdentifier) (ids []string) {
	for _, g := range groups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	return ids
}

// subnet is a subnet of the VPC. Without a block of a family, that one is not valid.
type subnet struct {
	id, zone    string
	cidr, cidr6 netip.Prefix
	// isRoutable is set if the subnet has the tag that CAST AI selects subnets by.
	isRoutable bool
	// isPodOnly is set if pods use the subnet, and nodes do not.
	isPodOnly bool
	tags      map[string]string
}

// block returns the block of a family.
func (s subnet) block(f family) netip.Prefix {
	if f == ipv6 {
		return s.cidr6
	}
	return s.cidr
}

// sharedSpace is used for pods where private addresses are scarce.
// https://docs.aws.amazon.com/eks/latest/best-practices/custom-networking.html
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// cniTag marks subnets in which the VPC CNI creates network interfaces of pods.
// https://docs.aws.amazon.com/eks/latest/best-practices/subnets.html
const cniTag = "kubernetes.io/role/cni"

// isForPods reports whether a subnet is meant for the pods of a cluster: marked by the
// tag of the VPC CNI or by its addresses, and not by the tag of another cluster.
func (s subnet) isForPods(cluster string) bool {
	const clusterTag = "kubernetes.io/cluster/"
	_, isOurs := s.tags[clusterTag+cluster]
	for tag := range s.tags {
		if strings.HasPrefix(tag, clusterTag) && !isOurs {
			return false
		}
	}
	return s.tags[cniTag] == "1" || s.cidr.IsValid() && sharedSpace.Contains(s.cidr.Addr())
}

func newSubnet(s types.Subnet) subnet {
	cidr, _ := netip.ParsePrefix(aws.ToString(s.CidrBlock)) // not valid after an error
	n := subnet{id: aws.ToString(s.SubnetId), zone: aws.ToString(s.AvailabilityZone), cidr: cidr, tags: map[string]string{}}
	for _, t := range s.Tags {
		n.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	n.isRoutable = n.tags[routableTag] == "true"
	for _, a := range s.Ipv6CidrBlockAssociationSet {
		if st := a.Ipv6CidrBlockState; st == nil || st.State != types.SubnetCidrBlockStateCodeDisassociated && st.State != types.SubnetCidrBlockStateCodeDisassociating {
			n.cidr6, _ = netip.ParsePrefix(aws.ToString(a.Ipv6CidrBlock))
		}
	}
	return n
}

func (s subnet) String() string {
	if !s.cidr.IsValid() {
		return s.id + " " + s.zone
	}
	return s.id + " " + s.cidr.String() + " " + s.zone
}

// zones returns the availability zones of subnets, sorted, each once.
func zones(subnets []subnet) (zones []string) {
	for _, s := range subnets {
		zones = append(zones, s.zone)
	}
	return doctor.Distinct(zones)
}

// endpoint is a VPC endpoint.
type endpoint struct {
	id, service   string
	state         types.State
	lastError     string
	isGateway     bool
	hasPrivateDNS bool
	// isForInboundOnly is set if private DNS answers the inbound endpoints of the resolver
	// only: clients outside the VPC. Those in it resolve to public addresses.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/privatelink-interface-endpoints.html#private-dns
	isForInboundOnly bool
	subnets          []string
	securityGroups   []string
	routeTables      []string
	policy           string
}

func newEndpoint(e types.VpcEndpoint) endpoint {
	n := endpoint{
		id: aws.ToString(e.VpcEndpointId), service: aws.ToString(e.ServiceName), state: e.State,
		isGateway: e.VpcEndpointType == types.VpcEndpointTypeGateway, hasPrivateDNS: aws.ToBool(e.PrivateDnsEnabled),
		subnets: e.SubnetIds, routeTables: e.RouteTableIds, policy: aws.ToString(e.PolicyDocument),
	}
	if e.DnsOptions != nil {
		n.isForInboundOnly = aws.ToBool(e.DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint)
	}
	if e.LastError != nil {
		n.lastError = aws.ToString(e.LastError.Message)
	}
	for _, g := range e.Groups {
		n.securityGroups = append(n.securityGroups, aws.ToString(g.GroupId))
	}
	return n
}

// isIn reports whether the endpoint has the state. The API returns states in
// lower case, and the constants of the SDK begin with a capital.
func (e endpoint) isIn(s types.State) bool { return strings.EqualFold(string(e.state), string(s)) }

func (e endpoint) isAvailable() bool { return e.isIn(types.StateAvailable) }

func (e endpoint) isInterface() bool { return !e.isGateway }

// takesName reports whether private DNS of the endpoint answers in the VPC.
func (e endpoint) takesName() bool {
	return e.isInterface() && e.hasPrivateDNS && !e.isForInboundOnly
}

// hasServiceName reports whether the service's own name leads from the VPC to the
// endpoint: by private DNS, or by a route.
func (e endpoint) hasServiceName() bool { return e.isGateway || e.takesName() }
