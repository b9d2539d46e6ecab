// SPDX-License-Identifier: Apache-2.0

//go:build aws

package terraform

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// vpcFixture is a VPC that exists before Terraform runs: private subnets in zones a and b
// with one route table, and a public subnet in zone c.
type vpcFixture struct {
	id, publicTable, privateTable string
	private                       []string
}

func (w *fixture) createVPC(t *testing.T) (v vpcFixture) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vpc, err := w.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	must(err)
	v.id = *vpc.Vpc.VpcId
	_, err = w.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: &v.id, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	must(err)
	table := func() string {
		t.Helper()
		out, err := w.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: &v.id})
		must(err)
		return *out.RouteTable.RouteTableId
	}
	v.privateTable, v.publicTable = table(), table()
	for i, zone := range []string{"a", "b"} {
		v.private = append(v.private, w.createSubnet(t, v.id, zone, i, v.privateTable))
	}
	public := w.createSubnet(t, v.id, "c", 9, v.publicTable)
	_, err = w.ec2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: &public, MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	must(err)
	gateway, err := w.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{})
	must(err)
	_, err = w.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{VpcId: &v.id, InternetGatewayId: gateway.InternetGateway.InternetGatewayId})
	must(err)
	_, err = w.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: &v.publicTable, GatewayId: gateway.InternetGateway.InternetGatewayId, DestinationCidrBlock: aws.String("0.0.0.0/0")})
	must(err)
	return v
}

func (w *fixture) createSubnet(t *testing.T, vpc, zone string, i int, table string) (id string) {
	t.Helper()
	out, err := w.ec2.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String(fmt.Sprintf("10.9.%d.0/24", i)), AvailabilityZone: aws.String(region + zone)})
	if err == nil {
		_, err = w.ec2.AssociateRouteTable(t.Context(), &ec2.AssociateRouteTableInput{RouteTableId: &table, SubnetId: out.Subnet.SubnetId})
	}
	if err != nil {
		t.Fatal(err)
	}
	return *out.Subnet.SubnetId
}

// Only vpc_id is given. A subnet that is added later moves no endpoint, and the endpoints
// of the VPC are not created again by others.
func TestFoundSubnets(t *testing.T) {
	w := newFixture(t, "existing-vpc")
	v := w.createVPC(t)
	vars := []string{"-var=vpc_id=" + v.id}
	w.apply(t, vars...)
	endpoints := w.endpoints(t)
	if len(endpoints) != 16 {
		t.Errorf("%d endpoints", len(endpoints))
	}
	for _, e := range endpoints {
		switch {
		case e.VpcEndpointType == types.VpcEndpointTypeGateway:
			if !slices.Contains(e.RouteTableIds, v.privateTable) || slices.Contains(e.RouteTableIds, v.publicTable) {
				t.Errorf("the S3 gateway has the route tables %v", e.RouteTableIds)
			}
		case !equalSets(e.SubnetIds, v.private):
			t.Errorf("%s is in %v, want %v", *e.ServiceName, e.SubnetIds, v.private)
		}
	}
	subnets, err := w.ec2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{SubnetIds: v.private})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subnets.Subnets {
		if len(s.Tags) > 0 {
			t.Errorf("%s was found, and is tagged %v", *s.SubnetId, s.Tags)
		}
	}

	// The subnet with the lowest ID is found first.
	for i := 10; i < 200; i++ {
		if w.createSubnet(t, v.id, "a", i, v.privateTable) < v.private[0] {
			break
		}
	}
	w.planNothing(t, vars...)

	t.Run("another configuration", func(t *testing.T) { w.testConflicts(t, v) })
}

// testConflicts plans a second configuration for the same VPC, which is refused, and
// applies what the message proposes.
func (w *fixture) testConflicts(t *testing.T, v vpcFixture) {
	const second = `terraform {
  required_version = ">= 1.5"
}
provider "aws" {
  region = "us-east-1"
}
module "second" {
  source                  = "../.."
  name                    = "second"
  prefix                  = "second"
  vpc_id                  = %q
  route_table_ids         = [%q]
  subnet_ids              = [%q]
  find_existing_endpoints = true
  %s
}
`
	if err := w.selectExample(t.Context(), "new-vpc"); err != nil {
		t.Fatal(err)
	}
	w.configure(t, fmt.Sprintf(second, v.id, v.privateTable, v.private[0], ""))
	out, code, _ := w.run(t.Context(), "plan", "-input=false", "-no-color")
	message := flat(out)
	if code != 1 || !strings.Contains(message, "Route tables "+v.privateTable+" have a route to an S3 gateway endpoint already") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	proposal := regexp.MustCompile(`Use them with: (existing_endpoints = \{ [^}]*)\}`).FindStringSubmatch(message)
	if proposal == nil {
		t.Fatalf("no proposal in\n%s", out)
	}
	for _, e := range w.endpoints(t) {
		id := fmt.Sprintf("= %q", *e.VpcEndpointId)
		switch {
		case e.VpcEndpointType == types.VpcEndpointTypeGateway: // the message has the command that finds it
			proposal[1] += ", s3 " + id + " }"
		case !strings.Contains(proposal[1], id):
			t.Errorf("%s is not in the proposal", *e.ServiceName)
		}
	}
	w.configure(t, fmt.Sprintf(second, v.id, v.privateTable, v.private[0], proposal[1]))
	w.apply(t)
	if n := len(w.endpoints(t)); n != 16 {
		t.Errorf("%d endpoints", n)
	}
}

// endpoints returns those that exist.
func (w *fixture) endpoints(t *testing.T) (endpoints []types.VpcEndpoint) {
	t.Helper()
	out, err := w.ec2.DescribeVpcEndpoints(t.Context(), &ec2.DescribeVpcEndpointsInput{Filters: []types.Filter{{Name: aws.String("vpc-endpoint-state"), Values: []string{"available"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return out.VpcEndpoints
}

func equalSets(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
