// SPDX-License-Identifier: Apache-2.0

package network

import (
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
)

// topologyOf runs the selected checks and describes the network.
func topologyOf(t *testing.T, c Config, only ...string) topology.Network {
	t.Helper()
	checks, describe := Inspect(c)
	results, err := doctor.Run(t.Context(), checks, doctor.Options{Only: only})
	if err != nil {
		t.Fatal(err)
	}
	return describe(t.Context(), results)
}

func TestTopology(t *testing.T) {
	responses := healthyVPC()
	responses["ec2:DescribeVpcs"] = strings.Replace(responses["ec2:DescribeVpcs"], "</item>", "<tagSet><item><key>Name</key><value>main</value></item></tagSet></item>", 1)
	responses["ec2:DescribeVpcEndpoints"] = strings.Replace(responses["ec2:DescribeVpcEndpoints"], "us-east-1.s3", "us-east-1.other", 1)
	want := topology.Network{
		VPC: "vpc-1", Name: "main", Blocks: []string{"10.0.0.0/16"}, Nodes: 1, Port: 9443,
		Subnets:   []topology.Subnet{{ID: "subnet-1", Zone: "us-east-1a", CIDR: "10.0.1.0/24"}, {ID: "subnet-2", Zone: "us-east-1a", CIDR: "10.0.2.0/24"}},
		Endpoints: []topology.Endpoint{{Service: "ecr.api", ID: "vpce-1", State: "available"}, {Service: "s3"}, {Service: "api", IsCASTAI: true, ID: "vpce-3", State: "available"}},
	}
	if d := diff(want, topologyOf(t, testConfig(t, responses))); d != "" {
		t.Error(d)
	}
}

// Without the VPC, nothing else is asked for, and the reason is that of the first check
// that did not pass.
func TestTopologyThatIsNotKnown(t *testing.T) {
	denied := healthyVPC()
	delete(denied, "ec2:DescribeVpcs")
	for name, c := range map[string]struct {
		responses map[string]string
		only      string
		reason    string
	}{
		"no permission": {denied, Group, "ec2:DescribeVpcs"},
		"not selected":  {healthyVPC(), Group + "/aws-access", "is not selected"},
	} {
		t.Run(name, func(t *testing.T) {
			n := topologyOf(t, testConfig(t, c.responses), c.only)
			if !strings.Contains(n.SubnetsUnknown, c.reason) || !strings.Contains(n.EndpointsUnknown, c.reason) || n.Nodes >= 0 || len(n.Subnets) > 0 || len(n.Endpoints) != 3 || n.Endpoints[0].ID != "" {
				t.Errorf("%+v", n)
			}
		})
	}
}

// A part that cannot be read has a reason, and the others are described.
func TestTopologyInPart(t *testing.T) {
	responses := healthyVPC()
	delete(responses, "ec2:DescribeVpcEndpoints")
	n := topologyOf(t, testConfig(t, responses))
	if n.VPC != "vpc-1" || len(n.Subnets) != 2 || !strings.Contains(n.EndpointsUnknown, "ec2:DescribeVpcEndpoints") || n.SubnetsUnknown != "" {
		t.Errorf("%+v", n)
	}
}
