// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// checkControlPlanePort checks both ends of the connection from the API server to
// the webhook's pod.
func (c *checker) checkControlPlanePort(ctx context.Context) doctor.Finding {
	if c.Cluster == "" {
		return skippedWithoutCluster()
	}
	facts, err := c.gatherControlPlane(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	if len(facts.nodes) == 0 {
		return doctor.Unknownf("start a node, and run the check again", "no running instance is tagged kubernetes.io/cluster/%s", c.Cluster)
	}
	return facts.evaluate().report(c.region, c.Port)
}

// controlPlaneFacts are the settings of the path from the control plane to the
// nodes, at one port. The control plane's network interfaces are in the subnets of
// the cluster.
// https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
type controlPlaneFacts struct {
	groups         []string // security groups of the control plane; the first is that of the cluster
	clusterSubnets []subnet
	subnets        []subnet // of the cluster and its nodes
	egress         peers    // of the control plane's groups
	nodes          []nodeFacts
	family         family
}

// nodeFacts are those of all network interfaces with the same security groups.
type nodeFacts struct {
	groups    []string
	instances []string
	ingress   peers
}

func (c *checker) gatherControlPlane(ctx context.Context) (facts controlPlaneFacts, err error) {
	cluster, err := c.cluster(ctx)
	if err != nil {
		return facts, err
	}
	facts.groups, facts.family = cluster.securityGroups, cluster.family
	if facts.subnets, err = c.subnets(ctx); err != nil {
		return facts, err
	}
	if facts.clusterSubnets, err = c.clusterSubnets(ctx); err != nil {
		return facts, err
	}
	if facts.egress, err = c.allowedPeers(ctx, facts.groups, c.Port, egress); err != nil {
		return facts, err
	}
	nodes, err := c.nodes(ctx)
	if err != nil {
		return facts, err
	}
	facts.nodes = nodesByGroups(nodes)
	for i, n := range facts.nodes {
		if facts.nodes[i].ingress, err = c.allowedPeers(ctx, n.groups, c.Port, ingress); err != nil {
			return facts, err
		}
	}
	return facts, nil
}

// nodesByGroups groups nodes by the security groups of their network interfaces.
// A node appears once for each distinct set.
func nodesByGroups(nodes []node) (grouped []nodeFacts) {
	for _, n := range nodes {
		for _, ni := range n.interfaces {
			groups := slices.Sorted(slices.Values(ni.securityGroups))
			i := slices.IndexFunc(grouped, func(f nodeFacts) bool { return slices.Equal(f.groups, groups) })
			if i < 0 {
				i, grouped = len(grouped), append(grouped, nodeFacts{groups: groups})
			}
			if !slices.Contains(grouped[i].instances, n.id) {
				grouped[i].instances = append(grouped[i].instances, n.id)
			}
		}
	}
	return grouped
}

// controlPlaneVerdict names the nodes that the control plane cannot reach.
type controlPlaneVerdict struct {
	nodes      int      // all of them
	groups     []string // security groups of the control plane
	blocked    []blockedNodes
	unreadable []string // security groups and prefix lists that may allow the rest
}

// blockedNodes are nodes whose groups deny ingress, or that the control plane's
// groups deny egress to, or both.
type blockedNodes struct {
	groups, instances           []string
	deniesIngress, deniesEgress bool
}

func (f controlPlaneFacts) evaluate() controlPlaneVerdict {
	v := controlPlaneVerdict{groups: f.groups}
	var instances []string
	for _, n := range f.nodes {
		instances = append(instances, n.instances...)
		allowsIngress, allowsEgress := n.ingress.include(f.groups, f.clusterSubnets, f.family), f.egress.include(n.groups, f.subnets, f.family)
		if allowsIngress && allowsEgress {
			continue
		}
		if unreadable := slices.Concat(n.ingress.unreadable, f.egress.unreadable); len(unreadable) > 0 {
			v.unreadable = append(v.unreadable, unreadable...)
			continue
		}
		v.blocked = append(v.blocked, blockedNodes{n.groups, n.instances, !allowsIngress, !allowsEgress})
	}
	v.nodes = len(doctor.Distinct(instances))
	return v
}

func (v controlPlaneVerdict) report(region string, port int32) doctor.Finding {
	var blocked, details, remedies, directions []string
	for _, b := range v.blocked {
		blocked = append(blocked, b.instances...)
		groups := strings.Join(b.groups, ", ")
		if b.deniesIngress {
			details = append(details, fmt.Sprintf("%s: no ingress rule allows port %d from %s: %s", groups, port, v.groups[0], doctor.List(b.instances, 4)))
			directions = append(directions, directionIn)
			if len(b.groups) > 0 {
				remedies = append(remedies, allowCommand(directionIn, region, b.groups[0], port, "--source-group "+v.groups[0]))
			}
		}
		if b.deniesEgress {
			details = append(details, fmt.Sprintf("%s: no egress rule allows port %d to %s", strings.Join(v.groups, ", "), port, groups))
			directions = append(directions, directionOut)
			if len(b.groups) > 0 {
				remedies = append(remedies, allowCommand(directionOut, region, v.groups[0], port, "--source-group "+b.groups[0]))
			}
		}
	}
	remedies = doctor.Distinct(remedies)
	for _, d := range doctor.Distinct(directions) {
		remedies = append(remedies, terraformRule(d, port))
	}
	switch {
	case len(v.blocked) > 0:
		return doctor.Failf(strings.Join(remedies, "\n"),
			"port %d is closed on %d of %d nodes", port, len(doctor.Distinct(blocked)), v.nodes).With(doctor.Distinct(details)...)
	case len(v.unreadable) > 0:
		return unreadableRules(v.unreadable)
	}
	return doctor.OKf("port %d is open on %d nodes", port, v.nodes)
}
