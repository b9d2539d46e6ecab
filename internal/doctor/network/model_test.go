// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmp.AllowUnexported(cluster{}, node{}, networkACL{}, aclRule{}, networkInterface{}, subnet{}, endpoint{}, zoneGap{},
		nodeFacts{}, peers{}, controlPlaneVerdict{}, blockedNodes{}, endpointAccessVerdict{}, blockedEndpoint{}))
}

func TestNewCluster(t *testing.T) {
	got := newCluster(&ekstypes.Cluster{Status: ekstypes.ClusterStatusActive, ResourcesVpcConfig: &ekstypes.VpcConfigResponse{
		VpcId: aws.String("vpc-1"), SubnetIds: []string{"subnet-1"}, ClusterSecurityGroupId: aws.String("sg-1"), SecurityGroupIds: []string{"sg-2"}, EndpointPrivateAccess: true,
	}})
	want := cluster{status: "ACTIVE", vpc: "vpc-1", subnets: []string{"subnet-1"}, securityGroups: []string{"sg-1", "sg-2"}, hasPrivateAccess: true}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNewNode(t *testing.T) {
	group := []types.GroupIdentifier{{GroupId: aws.String("sg-1")}}
	for name, c := range map[string]struct {
		instance types.Instance
		want     node
	}{
		"an instance without network interfaces": {
			types.Instance{InstanceId: aws.String("i-1"), SubnetId: aws.String("subnet-1"), SecurityGroups: group},
			node{"i-1", []networkInterface{{"subnet-1", []string{"sg-1"}}}, "subnet-1"},
		},
		"one for pods in another subnet": {
			types.Instance{InstanceId: aws.String("i-1"), SubnetId: aws.String("subnet-1"), SecurityGroups: group, NetworkInterfaces: []types.InstanceNetworkInterface{
				{SubnetId: aws.String("subnet-1"), Groups: group}, {SubnetId: aws.String("subnet-2")},
			}},
			node{"i-1", []networkInterface{{"subnet-1", []string{"sg-1"}}, {"subnet-2", nil}}, "subnet-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := diff(c.want, newNode(c.instance)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNewSubnet(t *testing.T) {
	for name, c := range map[string]struct {
		tag  types.Tag
		want bool
	}{
		"tagged":       {types.Tag{Key: aws.String(routableTag), Value: aws.String("true")}, true},
		"tagged false": {types.Tag{Key: aws.String(routableTag), Value: aws.String("false")}, false},
		"another tag":  {types.Tag{Key: aws.String("Name"), Value: aws.String("true")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := newSubnet(types.Subnet{SubnetId: aws.String("subnet-1"), AvailabilityZone: aws.String("us-east-1a"), CidrBlock: aws.String("10.0.1.0/24"), Tags: []types.Tag{c.tag}})
			if got.isRoutable != c.want || got.String() != "subnet-1 10.0.1.0/24 us-east-1a" {
				t.Errorf("%+v %s", got, got)
			}
		})
	}
	if got := newSubnet(types.Subnet{SubnetId: aws.String("subnet-6"), AvailabilityZone: aws.String("us-east-1a")}); got.cidr.IsValid() || got.String() != "subnet-6 us-east-1a" {
		t.Errorf("without IPv4: %+v %s", got, got)
	}
}

func TestNewEndpoint(t *testing.T) {
	got := newEndpoint(types.VpcEndpoint{
		VpcEndpointId: aws.String("vpce-1"), ServiceName: aws.String("service"), State: "available", VpcEndpointType: types.VpcEndpointTypeInterface, PrivateDnsEnabled: aws.Bool(true),
		SubnetIds: []string{"subnet-1"}, Groups: []types.SecurityGroupIdentifier{{GroupId: aws.String("sg-1")}}, PolicyDocument: aws.String("{}"), LastError: &types.LastError{Message: aws.String("no")},
	})
	want := endpoint{id: "vpce-1", service: "service", state: "available", hasPrivateDNS: true, subnets: []string{"subnet-1"}, securityGroups: []string{"sg-1"}, policy: "{}", lastError: "no"}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
	inbound := newEndpoint(types.VpcEndpoint{PrivateDnsEnabled: aws.Bool(true), DnsOptions: &types.DnsOptions{PrivateDnsOnlyForInboundResolverEndpoint: aws.Bool(true)}})
	if d := diff(endpoint{hasPrivateDNS: true, isForInboundOnly: true}, inbound); d != "" {
		t.Error(d)
	}
	gateway := newEndpoint(types.VpcEndpoint{VpcEndpointType: types.VpcEndpointTypeGateway, RouteTableIds: []string{"rtb-1"}})
	if d := diff(endpoint{isGateway: true, routeTables: []string{"rtb-1"}}, gateway); d != "" {
		t.Error(d)
	}
}
