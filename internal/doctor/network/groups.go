// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func (v *vpc) endpointGroups(ctx context.Context) doctor.Finding {
	found, err := v.present(ctx)
	if err != nil {
		return unseen(err)
	}
	subnets, err := v.subnets(ctx)
	if err != nil {
		return unseen(err)
	}
	nodes, err := v.nodeGroups(ctx)
	if err != nil {
		return unseen(err)
	}
	closed := map[string][]string{} // names of endpoints by what keeps them out
	var remedies, unread []string
	openings := map[string]opening{} // by groups: most endpoints have the same
	count := 0
	for _, k := range found {
		for _, e := range interfaces(k.serving()) {
			count++
			var ids []string
			for _, g := range e.Groups {
				ids = append(ids, aws.ToString(g.GroupId))
			}
			o, known := openings[strings.Join(ids, " ")]
			if !known {
				if o, err = v.opened(ctx, ids, 443, ingress); err != nil {
					return unseen(err)
				}
				openings[strings.Join(ids, " ")] = o
			}
			var out []string
			for _, s := range subnets {
				n, ok := network(s)
				if !ok || covers(o.prefixes, n) || everyNode(nodes, o) {
					continue
				}
				out = append(out, fmt.Sprintf("%s (%s)", *s.SubnetId, n))
				if len(ids) > 0 {
					remedies = append(remedies, v.authorize(ids[0], 443, "--cidr "+n.String()))
				}
			}
			switch {
			case len(out) > 0 && len(o.unread) > 0:
				unread = append(unread, o.unread...)
			case len(out) > 0:
				line := fmt.Sprintf("%s: not from %s", strings.Join(ids, ", "), doctor.List(out, 4))
				closed[line] = append(closed[line], k.Name)
			}
		}
	}
	if len(closed) > 0 {
		var names, details []string
		for line, of := range closed {
			names, details = append(names, of...), append(details, line+": "+strings.Join(of, ", "))
		}
		slices.Sort(names)
		slices.Sort(details)
		slices.Sort(remedies)
		return doctor.Failf(strings.Join(append(slices.Compact(remedies), terraformRule(443)), "\n"), "closed: %s", doctor.List(names, 5)).With(details...)
	}
	if len(unread) > 0 {
		return v.notRead(unread)
	}
	return doctor.OKf("port 443 of %d endpoints is open to %d subnets", count, len(subnets))
}

// notRead is the finding where what could not be read may let through.
func (v *vpc) notRead(ids []string) doctor.Finding {
	slices.Sort(ids)
	return doctor.Unknownf("the caller needs ec2:DescribeSecurityGroups and ec2:GetManagedPrefixListEntries; one of another VPC or account is to be looked at there",
		"these could not be read, and may let it through: %s", doctor.List(slices.Compact(ids), 4))
}

// authorize is the command that opens a port.
func (v *vpc) authorize(group string, port int32, source string) string {
	return fmt.Sprintf("aws ec2 authorize-security-group-ingress --region %s --group-id %s --protocol tcp --port %d %s", v.region, group, port, source)
}

func terraformRule(port int32) string {
	return fmt.Sprintf("Terraform: resource \"aws_vpc_security_group_ingress_rule\" { ip_protocol = \"tcp\", from_port = %d, to_port = %d, ... }", port, port)
}

// everyNode tells whether an opening lets all nodes in by their groups. No node
// at all is none that is let in.
func everyNode(nodes [][]string, o opening) bool {
	return len(nodes) > 0 && !slices.ContainsFunc(nodes, func(groups []string) bool { return !o.member(groups) })
}

// nodeGroups are the security groups of each network interface of a node. Without one it is the
// cluster's, that EKS gives to nodes unless told otherwise.
func (v *vpc) nodeGroups(ctx context.Context) (all [][]string, err error) {
	nodes, err := v.nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		for _, f := range faces(n) {
			all = append(all, f.groups)
		}
	}
	if len(all) == 0 && v.Cluster != "" {
		c, err := v.cluster(ctx)
		if err != nil {
			return nil, err
		}
		all = [][]string{{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}}
	}
	return all, nil
}
