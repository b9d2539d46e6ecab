// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

func (v *vpc) dns(ctx context.Context) doctor.Finding {
	id, err := v.id(ctx)
	if err != nil {
		return unseen(err)
	}
	var off, commands []string
	for _, a := range []struct {
		name       types.VpcAttributeName
		flag, line string
		on         func(*ec2.DescribeVpcAttributeOutput) *types.AttributeBooleanValue
	}{
		{types.VpcAttributeNameEnableDnsSupport, "--enable-dns-support", "enable_dns_support = true", func(o *ec2.DescribeVpcAttributeOutput) *types.AttributeBooleanValue { return o.EnableDnsSupport }},
		{types.VpcAttributeNameEnableDnsHostnames, "--enable-dns-hostnames", "enable_dns_hostnames = true", func(o *ec2.DescribeVpcAttributeOutput) *types.AttributeBooleanValue { return o.EnableDnsHostnames }},
	} {
		out, err := v.ec2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: a.name})
		if err != nil {
			return awsapi.Unseen("ec2:DescribeVpcAttribute", err)
		}
		if value := a.on(out); value == nil || !aws.ToBool(value.Value) {
			off = append(off, string(a.name))
			commands = append(commands, fmt.Sprintf("aws ec2 modify-vpc-attribute --region %s --vpc-id %s %s\nTerraform: resource \"aws_vpc\" { %s }", v.region, id, a.flag, a.line))
		}
	}
	if len(off) > 0 {
		return doctor.Failf(strings.Join(commands, "\n"), "off in %s: %s", id, strings.Join(off, ", "))
	}
	return v.resolver(ctx, id)
}

// amazon is what stands for the VPC's own resolver.
const amazon = "AmazonProvidedDNS"

// resolver looks at whom the nodes ask. Private DNS is known to the VPC's own
// resolver alone.
// https://docs.aws.amazon.com/vpc/latest/userguide/DHCPOptionSetConcepts.html
func (v *vpc) resolver(ctx context.Context, id string) doctor.Finding {
	vpcs, err := v.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
	if err != nil {
		return awsapi.Unseen("ec2:DescribeVpcs", err)
	}
	var set string
	if len(vpcs.Vpcs) > 0 {
		set = aws.ToString(vpcs.Vpcs[0].DhcpOptionsId)
	}
	if set == "" || set == "default" {
		return doctor.Warnf(fmt.Sprintf("aws ec2 associate-dhcp-options --region %s --vpc-id %s --dhcp-options-id ID, of a set with domain-name-servers=%s", v.region, id, amazon),
			"both are on in %s, but it has no DHCP options, that tell nodes of a resolver", id)
	}
	out, err := v.ec2.DescribeDhcpOptions(ctx, &ec2.DescribeDhcpOptionsInput{DhcpOptionsIds: []string{set}})
	if err != nil {
		return awsapi.Unseen("ec2:DescribeDhcpOptions", err)
	}
	var servers []string
	for _, o := range out.DhcpOptions {
		for _, c := range o.DhcpConfigurations {
			if aws.ToString(c.Key) == "domain-name-servers" {
				for _, value := range c.Values {
					servers = append(servers, aws.ToString(value.Value))
				}
			}
		}
	}
	if len(servers) > 0 && !slices.Contains(servers, amazon) {
		return doctor.Warnf(fmt.Sprintf("let them forward amazonaws.com and cast.ai to the VPC's resolver (its network plus two, or a Route 53 inbound endpoint), or give the VPC DHCP options with %s: aws ec2 associate-dhcp-options --region %s --vpc-id %s --dhcp-options-id ID", amazon, v.region, id),
			"both are on in %s, but its nodes ask %s, that may not know private DNS", id, strings.Join(servers, ", "))
	}
	return doctor.OKf("both are on in %s, and its nodes ask the VPC's resolver", id)
}
