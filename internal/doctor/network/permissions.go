// SPDX-License-Identifier: Apache-2.0

package network

// Actions returns the IAM actions that the checks need. A test holds them equal to the
// requests that are sent.
func Actions() []string {
	return []string{
		"ec2:DescribeDhcpOptions", "ec2:DescribeInstances", "ec2:DescribeManagedPrefixLists", "ec2:DescribeNetworkAcls", "ec2:DescribeRouteTables",
		"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcAttribute", "ec2:DescribeVpcEndpointServices", "ec2:DescribeVpcEndpoints",
		"ec2:DescribeVpcs", "ec2:GetManagedPrefixListEntries", "eks:DescribeCluster", "eks:DescribeNodegroup", "eks:ListNodegroups",
		"organizations:DescribeOrganization", "route53:ListHostedZonesByVPC", "route53:ListResourceRecordSets", "sts:GetCallerIdentity",
	}
}
