// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"slices"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/topology"
)

// vpcCheck is the check that the others need.
const (
	vpcName  = "cluster-vpc"
	vpcCheck = Group + "/" + vpcName
)

// describe describes the network, if the results say that its VPC is known. Otherwise it
// gives their reason, and the endpoints that are needed.
func (c *checker) describe(ctx context.Context, results []doctor.Result) topology.Network {
	needed := c.needed()
	find := func(id string) int {
		return slices.IndexFunc(results, func(r doctor.Result) bool { return r.ID() == id })
	}
	i := find(vpcCheck)
	if i < 0 {
		return needed.WithoutAccess("the check " + vpcCheck + " is not selected")
	}
	for results[i].Cause != "" {
		i = find(results[i].Cause)
	}
	if results[i].Status != doctor.OK {
		return needed.WithoutAccess(results[i].Found)
	}
	return c.read(ctx, needed)
}

// needed returns the network as far as the configuration tells it.
func (c *checker) needed() topology.Network {
	n := topology.Network{VPC: c.VPC, Port: c.Port}
	for _, s := range slices.Concat(c.Services, c.CASTAI) {
		n.Endpoints = append(n.Endpoints, topology.Endpoint{Service: s.Name, IsCASTAI: s.FullName != ""})
	}
	return n
}

// read adds the facts of the checks. A fact that cannot be read is left out, with the
// reason.
func (c *checker) read(ctx context.Context, n topology.Network) topology.Network {
	if v, err := c.vpc(ctx); err == nil {
		n.VPC, n.Name = v.id, v.name
		for _, b := range v.blocks {
			n.Blocks = append(n.Blocks, b.String())
		}
	}
	n.Nodes = -1
	if nodes, err := c.nodes(ctx); err == nil && c.Cluster != "" {
		n.Nodes = len(nodes)
	}
	subnets, err := c.subnets(ctx)
	if err != nil {
		n.SubnetsUnknown = err.Error()
	}
	for _, s := range subnets {
		block := ""
		if s.cidr.IsValid() {
			block = s.cidr.String()
		} else if s.cidr6.IsValid() {
			block = s.cidr6.String()
		}
		n.Subnets = append(n.Subnets, topology.Subnet{ID: s.id, Name: s.tags["Name"], Zone: s.zone, CIDR: block})
	}
	endpoints, err := c.endpoints(ctx)
	if err != nil {
		n.EndpointsUnknown = err.Error()
		return n
	}
	for i, s := range groupByService(slices.Concat(c.Services, c.CASTAI), c.region, endpoints) {
		used := s.active()
		if len(used) == 0 {
			used = s.endpoints
		}
		if len(used) > 0 {
			n.Endpoints[i].ID, n.Endpoints[i].State = used[0].id, string(used[0].state)
		}
	}
	return n
}
