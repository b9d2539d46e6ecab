// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// controlPlanePort looks at both ends: the control plane's network interfaces
// are in the cluster's subnets and have the cluster's security group and those
// that were added to it.
// https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
func (v *vpc) controlPlanePort(ctx context.Context) doctor.Finding {
	if v.Cluster == "" {
		return withoutCluster
	}
	c, err := v.cluster(ctx)
	if err != nil {
		return unseen(err)
	}
	subnets, err := v.subnets(ctx)
	if err != nil {
		return unseen(err)
	}
	nodes, err := v.nodes(ctx)
	if err != nil {
		return unseen(err)
	}
	if len(nodes) == 0 {
		return doctor.Unknownf("start a node, and look again", "no running instance is tagged kubernetes.io/cluster/%s", v.Cluster)
	}
	plane := append([]string{aws.ToString(c.ResourcesVpcConfig.ClusterSecurityGroupId)}, c.ResourcesVpcConfig.SecurityGroupIds...)
	theirs := slices.DeleteFunc(slices.Clone(subnets), func(s types.Subnet) bool { return !slices.Contains(c.ResourcesVpcConfig.SubnetIds, *s.SubnetId) })
	out, err := v.opened(ctx, plane, v.Port, egress)
	if err != nil {
		return unseen(err)
	}
	byGroups := map[string][]string{}
	for _, n := range nodes {
		for _, f := range faces(n) {
			key := strings.Join(slices.Sorted(slices.Values(f.groups)), " ")
			byGroups[key] = append(byGroups[key], *n.InstanceId)
		}
	}
	var closed, details, remedies, unread []string
	for key, instances := range byGroups {
		ids := strings.Fields(key)
		in, err := v.opened(ctx, ids, v.Port, ingress)
		if err != nil {
			return unseen(err)
		}
		enters, leaves := within(in, theirs, plane), within(out, subnets, ids)
		if enters && leaves {
			continue
		}
		if missing := slices.Concat(in.unread, out.unread); len(missing) > 0 {
			unread = append(unread, missing...)
			continue
		}
		closed = append(closed, instances...)
		slices.Sort(closed)
		closed = slices.Compact(closed)
		if !enters {
			details = append(details, fmt.Sprintf("%s let no port %d in from %s: %s", strings.Join(ids, ", "), v.Port, plane[0], doctor.List(instances, 4)))
			if len(ids) > 0 {
				remedies = append(remedies, v.authorize(ids[0], v.Port, "--source-group "+plane[0]))
			}
		}
		if !leaves {
			details = append(details, fmt.Sprintf("%s let no port %d out to %s", strings.Join(plane, ", "), v.Port, strings.Join(ids, ", ")))
			remedies = append(remedies, strings.Replace(v.authorize(plane[0], v.Port, "--source-group "+ids[0]), "ingress", "egress", 1))
		}
	}
	if len(closed) > 0 {
		slices.Sort(details)
		slices.Sort(remedies)
		return doctor.Failf(strings.Join(append(slices.Compact(remedies), terraformRule(v.Port)), "\n"), "port %d is closed at %d of %d nodes", v.Port, len(closed), len(nodes)).With(slices.Compact(details)...)
	}
	if len(unread) > 0 {
		return v.notRead(unread)
	}
	return doctor.OKf("port %d of %d nodes is open to it", v.Port, len(nodes))
}

// within tells whether an opening is for one of groups, or for all subnets.
func within(o opening, subnets []types.Subnet, groups []string) bool {
	return o.member(groups) || len(subnets) > 0 && !slices.ContainsFunc(subnets, func(s types.Subnet) bool {
		n, ok := network(s)
		return !ok || !covers(o.prefixes, n)
	})
}
