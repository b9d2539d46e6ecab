// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

func (c *checker) checkEndpointState(ctx context.Context) doctor.Finding {
	services, err := c.presentEndpoints(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	if len(services) == 0 {
		return skippedWithoutEndpoints()
	}
	return reportState(c.region, services)
}

// skippedWithoutEndpoints is the finding if there is none, which other checks report.
func skippedWithoutEndpoints() doctor.Finding {
	return doctor.Skippedf("the VPC has none of the endpoints: see %s/aws-endpoints and %s/castai-endpoints", Group, Group)
}

// reportState reports the services without an available endpoint.
func reportState(region string, services []serviceEndpoints) doctor.Finding {
	var found, names, details, ids, remedies []string
	for _, s := range services {
		if len(s.active()) > 0 {
			continue
		}
		found, names = append(found, fmt.Sprintf("%s is %s", s.Name, s.endpoints[0].state)), append(names, s.Name)
		for _, e := range s.endpoints {
			detail := fmt.Sprintf("%s %s: %s", s.Name, e.id, e.state)
			if e.lastError != "" {
				detail += ", " + e.lastError
			}
			details, ids = append(details, detail), append(ids, e.id)
			remedies = append(remedies, stateRemedy(region, s.Service, e))
		}
	}
	if len(found) > 0 {
		describe := fmt.Sprintf("aws ec2 describe-vpc-endpoints --region %s --vpc-endpoint-ids %s", region, strings.Join(ids, " "))
		return doctor.Failf(strings.Join(append([]string{describe}, doctor.Distinct(remedies)...), "\n"), "%s", doctor.List(found, 4)).With(details...).At(doctor.Endpoints(names...)...)
	}
	return doctor.OKf("all are available")
}

// https://docs.aws.amazon.com/vpc/latest/privatelink/concepts.html
func stateRemedy(region string, s Service, e endpoint) string {
	recreate := fmt.Sprintf("delete and create it again: aws ec2 delete-vpc-endpoints --region %s --vpc-endpoint-ids %s", region, e.id)
	switch {
	case e.isIn(types.StatePendingAcceptance):
		return "ask the owner of the service to accept it: for CAST AI, its support, with the ID of the endpoint"
	case e.isIn(types.StatePending):
		return "wait some minutes, and run the check again"
	case e.isIn(types.StateRejected), e.isIn(types.StateExpired):
		return "ask the owner of " + s.serviceName(region) + " for the reason, then " + recreate
	}
	return recreate
}

func (c *checker) checkPrivateDNS(ctx context.Context) doctor.Finding {
	services, err := c.presentEndpoints(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	if len(services) == 0 {
		return skippedWithoutEndpoints()
	}
	var disabled []Service
	for _, s := range services {
		if active := s.active(); len(active) > 0 && !slices.ContainsFunc(active, endpoint.hasServiceName) {
			disabled = append(disabled, s.Service)
		}
	}
	if len(disabled) == 0 {
		return reportPrivateDNS(c.region, services)
	}
	central, err := c.centralZones(ctx, disabled)
	if err != nil {
		return awsapi.Unknown(err)
	}
	named := filter(services, func(s serviceEndpoints) bool { _, ok := central[s.Name]; return ok })
	f := reportPrivateDNS(c.region, filter(services, func(s serviceEndpoints) bool { _, ok := central[s.Name]; return !ok }))
	for _, s := range named {
		f = f.With(fmt.Sprintf("%s: private DNS is off, and the private zone %s has a record for it", s.Name, central[s.Name].name))
	}
	return f
}

// reportPrivateDNS reports the services whose own name leads to none of their
// available endpoints.
func reportPrivateDNS(region string, services []serviceEndpoints) doctor.Finding {
	var disabled, remedies []string
	enabled := 0
	for _, s := range services {
		active := s.active()
		switch {
		case len(active) == 0: // reported by endpoint-state
		case slices.ContainsFunc(active, endpoint.hasServiceName):
			enabled++
		default:
			disabled = append(disabled, s.Name)
			option, argument := "--private-dns-enabled", "private_dns_enabled = true"
			if active[0].hasPrivateDNS {
				option = "--dns-options PrivateDnsOnlyForInboundResolverEndpoint=false"
				argument = "dns_options { private_dns_only_for_inbound_resolver_endpoint = false }"
			}
			remedies = append(remedies,
				fmt.Sprintf("aws ec2 modify-vpc-endpoint --region %s --vpc-endpoint-id %s %s", region, active[0].id, option),
				fmt.Sprintf("Terraform: resource \"aws_vpc_endpoint\" { %s } of %s", argument, active[0].service))
		}
	}
	if len(disabled) > 0 {
		return doctor.Failf(strings.Join(remedies, "\n"), "disabled: %s", doctor.List(disabled, 6)).At(doctor.Endpoints(disabled...)...)
	}
	return doctor.OKf("enabled for all %d", enabled)
}

func (c *checker) checkEndpointSubnets(ctx context.Context) doctor.Finding {
	services, err := c.presentEndpoints(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	if len(services) == 0 {
		return skippedWithoutEndpoints()
	}
	subnets, err := c.subnets(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	vpcSubnets, err := c.vpcSubnets(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	gaps := zoneGaps(services, subnets, vpcSubnets)
	for i := range gaps {
		if gaps[i].zones, err = c.offeredZones(ctx, gaps[i].endpoint.service, gaps[i].zones); err != nil {
			return awsapi.Unknown(err)
		}
	}
	return reportZoneGaps(c.region, gaps, subnets)
}

// zoneGap is a service without an endpoint subnet in some zones.
type zoneGap struct {
	service  string
	endpoint endpoint // the one to add a subnet to
	zones    []string
}

// zoneGaps returns the services that have interface endpoints, but no subnet in
// some zones of subnets.
func zoneGaps(services []serviceEndpoints, subnets, vpcSubnets []subnet) (gaps []zoneGap) {
	zoneOf := map[string]string{}
	for _, s := range vpcSubnets {
		zoneOf[s.id] = s.zone
	}
	for _, s := range services {
		endpoints := filter(s.active(), endpoint.isInterface)
		if len(endpoints) == 0 {
			continue
		}
		var covered []string
		for _, e := range endpoints {
			for _, id := range e.subnets {
				covered = append(covered, zoneOf[id])
			}
		}
		if missing := filter(zones(subnets), func(zone string) bool { return !slices.Contains(covered, zone) }); len(missing) > 0 {
			gaps = append(gaps, zoneGap{s.Name, endpoints[0], missing})
		}
	}
	return gaps
}

// serviceNotFound are the error codes of EC2 for a service that the account does not see.
var serviceNotFound = []string{"InvalidServiceName", "InvalidVpcEndpointService.NotFound"}

// offeredZones returns those of the zones in which the service is offered. If AWS does not
// say, it returns all.
func (c *checker) offeredZones(ctx context.Context, service string, zones []string) ([]string, error) {
	out, err := c.ec2.DescribeVpcEndpointServices(ctx, &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{service}})
	if err != nil && !slices.Contains(serviceNotFound, awsapi.Code(err)) {
		return nil, awsapi.NewError("ec2:DescribeVpcEndpointServices", err)
	}
	if err != nil || len(out.ServiceDetails) == 0 || len(out.ServiceDetails[0].AvailabilityZones) == 0 {
		return zones, nil
	}
	return filter(zones, func(zone string) bool { return slices.Contains(out.ServiceDetails[0].AvailabilityZones, zone) }), nil
}

func reportZoneGaps(region string, gaps []zoneGap, subnets []subnet) doctor.Finding {
	var found, names, remedies []string
	for _, g := range gaps {
		if len(g.zones) > 0 {
			names = append(names, g.service)
		}
		for _, zone := range g.zones {
			found = append(found, g.service+" in "+zone)
			i := slices.IndexFunc(subnets, func(s subnet) bool { return s.zone == zone })
			remedies = append(remedies, fmt.Sprintf("aws ec2 modify-vpc-endpoint --region %s --vpc-endpoint-id %s --add-subnet-ids %s", region, g.endpoint.id, subnets[i].id))
		}
	}
	if len(found) > 0 {
		return doctor.Warnf(strings.Join(append(remedies, "Terraform: add the subnets to subnet_ids of the aws_vpc_endpoint"), "\n"),
			"no subnet: %s", doctor.List(found, 4)).With(found...).At(doctor.Endpoints(names...)...)
	}
	return doctor.OKf("all have a subnet in each of %d zones", len(zones(subnets)))
}
