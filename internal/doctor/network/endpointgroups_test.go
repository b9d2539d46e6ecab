// SPDX-License-Identifier: Apache-2.0

package network

import (
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func TestEndpointAccessEvaluate(t *testing.T) {
	subnets := testSubnets()
	for name, c := range map[string]struct {
		ingress peers
		nodes   [][]string
		want    endpointAccessVerdict
	}{
		"allowed by address":                    {peers{prefixes: prefixes("10.0.0.0/16")}, nil, endpointAccessVerdict{}},
		"allowed by the group of all nodes":     {peers{groups: []string{"sg-node"}}, [][]string{{"sg-node"}, {"sg-node", "sg-2"}}, endpointAccessVerdict{}},
		"allowed by address, and by a group":    {peers{prefixes: prefixes("10.0.0.0/16"), groups: []string{"sg-node"}}, [][]string{{"sg-2"}}, endpointAccessVerdict{}},
		"a subnet without IPv4 does not matter": {peers{prefixes: prefixes("10.0.1.0/24", "10.0.2.0/24")}, nil, endpointAccessVerdict{}},
		"allowed by nothing":                    {peers{}, nil, endpointAccessVerdict{blocked: []blockedEndpoint{{"api", []string{"sg-1"}, subnets}}}},
		"allowed from one of two subnets":       {peers{prefixes: prefixes("10.0.1.0/24")}, nil, endpointAccessVerdict{blocked: []blockedEndpoint{{"api", []string{"sg-1"}, subnets[1:]}}}},
		"allowed by the group of some nodes": {peers{groups: []string{"sg-node"}}, [][]string{{"sg-node"}, {"sg-2"}},
			endpointAccessVerdict{blocked: []blockedEndpoint{{"api", []string{"sg-1"}, subnets}}}},
		"a prefix list may allow it":                                {peers{unreadable: []string{"pl-1"}}, nil, endpointAccessVerdict{unreadable: []string{"pl-1"}}},
		"an unreadable list does not matter where a rule allows it": {peers{prefixes: prefixes("0.0.0.0/0"), unreadable: []string{"pl-1"}}, nil, endpointAccessVerdict{}},
	} {
		t.Run(name, func(t *testing.T) {
			f := endpointAccessFacts{endpoints: []endpointIngress{{"api", []string{"sg-1"}, c.ingress}}, subnets: append(testSubnets(), subnet{id: "subnet-6"}), nodes: c.nodes}
			c.want.endpoints, c.want.subnets = 1, 3
			if d := diff(c.want, f.evaluate()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEndpointAccessReport(t *testing.T) {
	const rule = `Terraform: resource "aws_vpc_security_group_ingress_rule" { ip_protocol = "tcp", from_port = 443, to_port = 443, ... }`
	subnets := testSubnets()
	for name, c := range map[string]struct {
		verdict endpointAccessVerdict
		want    doctor.Finding
	}{
		"open": {endpointAccessVerdict{endpoints: 3, subnets: 2}, doctor.OKf("3 endpoints allow port 443 from 2 subnets")},
		"two closed for the same reason": {
			endpointAccessVerdict{endpoints: 3, subnets: 2, blocked: []blockedEndpoint{{"sts", []string{"sg-1"}, subnets[1:]}, {"api", []string{"sg-1"}, subnets[1:]}}},
			doctor.Failf("aws ec2 authorize-security-group-ingress --region us-east-1 --group-id sg-1 --protocol tcp --port 443 --cidr 10.0.2.0/24\n"+rule,
				"port 443 is closed: api, sts").With("sg-1: no ingress rule allows subnet-2 (10.0.2.0/24): sts, api").At("endpoint/api", "endpoint/sts"),
		},
		"closed without a group, and another unknown": {
			endpointAccessVerdict{endpoints: 2, subnets: 2, blocked: []blockedEndpoint{{"sts", nil, subnets}}, unreadable: []string{"pl-1"}},
			doctor.Failf(rule, "port 443 is closed: sts").With(": no ingress rule allows subnet-1 (10.0.1.0/24), subnet-2 (10.0.2.0/24): sts").At("endpoint/sts"),
		},
		"unknown": {
			endpointAccessVerdict{endpoints: 1, subnets: 2, unreadable: []string{"sg-other"}},
			doctor.Unknownf("the caller needs ec2:DescribeSecurityGroups and ec2:GetManagedPrefixListEntries; inspect those of another VPC or account there",
				"these could not be read, and may allow the connection: sg-other"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := diff(c.want, c.verdict.report("us-east-1")); d != "" {
				t.Error(d)
			}
		})
	}
}
