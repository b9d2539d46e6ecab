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

// amazonDNS stands for the VPC's own resolver in DHCP options. It is the only one
// that knows private DNS.
// https://docs.aws.amazon.com/vpc/latest/userguide/DHCPOptionSetConcepts.html
const amazonDNS = "AmazonProvidedDNS"

func (c *checker) checkDNS(ctx context.Context) doctor.Finding {
	facts, err := c.gatherDNS(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return facts.report(c.region)
}

// dnsFacts are the DNS settings of the VPC.
type dnsFacts struct {
	vpc string
	// hasSupport and hasHostnames are the attributes enableDnsSupport and
	// enableDnsHostnames. The other facts are read only if both are set.
	hasSupport, hasHostnames bool
	hasDHCPOptions           bool
	servers                  []string // in the DHCP options
}

func (c *checker) gatherDNS(ctx context.Context) (f dnsFacts, err error) {
	if f.vpc, err = c.vpcID(ctx); err != nil {
		return f, err
	}
	support, err := c.ec2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: &f.vpc, Attribute: types.VpcAttributeNameEnableDnsSupport})
	if err != nil {
		return f, awsapi.NewError("ec2:DescribeVpcAttribute", err)
	}
	hostnames, err := c.ec2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{VpcId: &f.vpc, Attribute: types.VpcAttributeNameEnableDnsHostnames})
	if err != nil {
		return f, awsapi.NewError("ec2:DescribeVpcAttribute", err)
	}
	f.hasSupport, f.hasHostnames = isSet(support.EnableDnsSupport), isSet(hostnames.EnableDnsHostnames)
	if !f.hasSupport || !f.hasHostnames {
		return f, nil
	}
	v, err := c.vpc(ctx)
	if err != nil {
		return f, err
	}
	id := v.dhcpOptions
	if id == "" || id == "default" { // "default" means none
		return f, nil
	}
	f.hasDHCPOptions = true
	out, err := c.ec2.DescribeDhcpOptions(ctx, &ec2.DescribeDhcpOptionsInput{DhcpOptionsIds: []string{id}})
	if err != nil {
		return f, awsapi.NewError("ec2:DescribeDhcpOptions", err)
	}
	for _, o := range out.DhcpOptions {
		f.servers = append(f.servers, nameServers(o)...)
	}
	return f, nil
}

func isSet(v *types.AttributeBooleanValue) bool { return v != nil && aws.ToBool(v.Value) }

func nameServers(o types.DhcpOptions) (servers []string) {
	for _, c := range o.DhcpConfigurations {
		if aws.ToString(c.Key) == "domain-name-servers" {
			for _, v := range c.Values {
				servers = append(servers, aws.ToString(v.Value))
			}
		}
	}
	return servers
}

func (f dnsFacts) report(region string) doctor.Finding {
	var disabled, remedies []string
	for _, a := range []struct {
		name             types.VpcAttributeName
		enabled          bool
		option, argument string
	}{
		{types.VpcAttributeNameEnableDnsSupport, f.hasSupport, "--enable-dns-support", "enable_dns_support"},
		{types.VpcAttributeNameEnableDnsHostnames, f.hasHostnames, "--enable-dns-hostnames", "enable_dns_hostnames"},
	} {
		if !a.enabled {
			disabled = append(disabled, string(a.name))
			remedies = append(remedies, fmt.Sprintf("aws ec2 modify-vpc-attribute --region %s --vpc-id %s %s\nTerraform: resource \"aws_vpc\" { %s = true }", region, f.vpc, a.option, a.argument))
		}
	}
	associate := fmt.Sprintf("aws ec2 associate-dhcp-options --region %s --vpc-id %s --dhcp-options-id ID", region, f.vpc)
	switch {
	case len(disabled) > 0:
		return doctor.Failf(strings.Join(remedies, "\n"), "disabled in %s: %s", f.vpc, strings.Join(disabled, ", "))
	case !f.hasDHCPOptions:
		return doctor.Warnf(associate+", with options that have domain-name-servers="+amazonDNS,
			"both are enabled in %s, but it has no DHCP options, so that nodes have no DNS server", f.vpc)
	case len(f.servers) > 0 && !slices.Contains(f.servers, amazonDNS):
		return doctor.Warnf("let these servers forward amazonaws.com and cast.ai to the VPC's resolver (its network plus two, or a Route 53 inbound endpoint), or give the VPC DHCP options with "+amazonDNS+": "+associate,
			"both are enabled in %s, but its nodes use the DNS servers %s, which may not resolve private DNS", f.vpc, strings.Join(f.servers, ", "))
	}
	return doctor.OKf("both are enabled in %s, and its nodes use the VPC's resolver", f.vpc)
}
