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

func (c *checker) checkEndpointSecurityGroups(ctx context.Context) doctor.Finding {
	facts, err := c.gatherEndpointAccess(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	if len(facts.endpoints) == 0 {
		return skippedWithoutEndpoints()
	}
	return facts.evaluate().report(c.region)
}

// httpsPort is that of all endpoints.
const httpsPort = 443

// endpointAccessFacts are the settings of access to the interface endpoints.
type endpointAccessFacts struct {
	endpoints []endpointIngress
	subnets   []subnet
	nodes     [][]string // security groups of each network interface of the nodes
}

// endpointIngress is the access to one endpoint of a service.
type endpointIngress struct {
	service string
	groups  []string // security groups of the endpoint
	ingress peers
}

func (c *checker) gatherEndpointAccess(ctx context.Context) (facts endpointAccessFacts, err error) {
	services, err := c.presentEndpoints(ctx)
	if err != nil {
		return facts, err
	}
	if facts.subnets, err = c.subnets(ctx); err != nil {
		return facts, err
	}
	if facts.nodes, err = c.nodeSecurityGroups(ctx); err != nil {
		return facts, err
	}
	known := map[string]peers{} // most endpoints have the same groups
	for _, s := range services {
		for _, e := range filter(s.active(), endpoint.isInterface) {
			key := strings.Join(e.securityGroups, " ")
			p, ok := known[key]
			if !ok {
				if p, err = c.allowedPeers(ctx, e.securityGroups, httpsPort, ingress); err != nil {
					return facts, err
				}
				known[key] = p
			}
			facts.endpoints = append(facts.endpoints, endpointIngress{s.Name, e.securityGroups, p})
		}
	}
	return facts, nil
}

// nodeSecurityGroups returns the security groups of each network interface of the
// nodes. Before there are nodes, it is the cluster security group, which EKS gives
// to nodes by default.
func (c *checker) nodeSecurityGroups(ctx context.Context) (groups [][]string, err error) {
	nodes, err := c.nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		for _, ni := range n.interfaces {
			groups = append(groups, ni.securityGroups)
		}
	}
	if len(groups) == 0 && c.Cluster != "" {
		cluster, err := c.cluster(ctx)
		if err != nil {
			return nil, err
		}
		groups = [][]string{cluster.securityGroups[:1]}
	}
	return groups, nil
}

// endpointAccessVerdict names the endpoints that some subnets cannot reach.
type endpointAccessVerdict struct {
	endpoints, subnets int // all of them
	blocked            []blockedEndpoint
	unreadable         []string // security groups and prefix lists that may allow the rest
}

type blockedEndpoint struct {
	service string
	groups  []string
	subnets []subnet // those that the groups do not allow
}

// evaluate finds the subnets that an endpoint does not allow, neither by address
// nor by the security groups of all nodes.
func (f endpointAccessFacts) evaluate() endpointAccessVerdict {
	v := endpointAccessVerdict{endpoints: len(f.endpoints), subnets: len(f.subnets)}
	for _, e := range f.endpoints {
		if e.ingress.includeAll(f.nodes) {
			continue
		}
		// Subnets without IPv4 do not matter: the endpoints have IPv4 addresses.
		denied := filter(f.subnets, func(s subnet) bool { return s.cidr.IsValid() && !e.ingress.includeSubnet(s, ipv4) })
		switch {
		case len(denied) == 0:
		case len(e.ingress.unreadable) > 0:
			v.unreadable = append(v.unreadable, e.ingress.unreadable...)
		default:
			v.blocked = append(v.blocked, blockedEndpoint{e.service, e.groups, denied})
		}
	}
	return v
}

func (v endpointAccessVerdict) report(region string) doctor.Finding {
	if len(v.blocked) == 0 && len(v.unreadable) > 0 {
		return unreadableRules(v.unreadable)
	}
	if len(v.blocked) == 0 {
		return doctor.OKf("%d endpoints allow port %d from %d subnets", v.endpoints, httpsPort, v.subnets)
	}
	var names, remedies []string
	services := map[string][]string{} // by the reason why they cannot be reached
	for _, b := range v.blocked {
		names = append(names, b.service)
		var denied []string
		for _, s := range b.subnets {
			denied = append(denied, fmt.Sprintf("%s (%s)", s.id, s.cidr))
			if len(b.groups) > 0 {
				remedies = append(remedies, allowCommand(directionIn, region, b.groups[0], httpsPort, "--cidr "+s.cidr.String()))
			}
		}
		reason := fmt.Sprintf("%s: no ingress rule allows %s", strings.Join(b.groups, ", "), doctor.List(denied, 4))
		services[reason] = append(services[reason], b.service)
	}
	var details []string
	for reason, names := range services {
		details = append(details, reason+": "+strings.Join(names, ", "))
	}
	slices.Sort(names)
	return doctor.Failf(strings.Join(append(doctor.Distinct(remedies), terraformRule(directionIn, httpsPort)), "\n"),
		"port %d is closed: %s", httpsPort, doctor.List(names, 5)).With(doctor.Distinct(details)...).At(doctor.Endpoints(doctor.Distinct(names)...)...)
}
