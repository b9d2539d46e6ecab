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

func (c *checker) checkAWSEndpoints(ctx context.Context) doctor.Finding {
	endpoints, err := c.endpoints(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return c.reportMissing(ctx, c.Services, missingServices(c.Services, c.region, endpoints))
}

func (c *checker) checkCASTAIEndpoints(ctx context.Context) doctor.Finding {
	if len(c.CASTAI) == 0 {
		return doctor.Unknownf("ask CAST AI for the names of its services in "+c.region+", and give them with --castai-service (com.amazonaws.vpce."+c.region+".vpce-svc-ID)",
			"no PrivateLink services of CAST AI are known in %s", c.region)
	}
	endpoints, err := c.endpoints(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return c.reportMissing(ctx, c.CASTAI, missingServices(c.CASTAI, c.region, endpoints))
}

// missingServices returns the services that have no endpoint, required ones first.
func missingServices(services []Service, region string, endpoints []endpoint) (missing []Service) {
	for _, s := range groupByService(services, region, endpoints) {
		if len(s.endpoints) == 0 {
			missing = append(missing, s.Service)
		}
	}
	slices.SortStableFunc(missing, func(a, b Service) int {
		switch {
		case a.Required == b.Required:
			return 0
		case a.Required:
			return -1
		}
		return 1
	})
	return missing
}

func (c *checker) reportMissing(ctx context.Context, services, missing []Service) doctor.Finding {
	if len(missing) == 0 {
		return doctor.OKf("all %d exist", len(services))
	}
	if err := c.foreignVPC(ctx, "endpoints"); err != nil {
		return awsapi.Unknown(err)
	}
	var notes []string
	central, err := c.centralZones(ctx, missing)
	if err != nil {
		notes = append(notes, fmt.Sprintf("whether there are endpoints in another VPC is not known: %v", err))
	}
	for _, s := range missing {
		if z, ok := central[s.Name]; ok {
			notes = append(notes, fmt.Sprintf("%s: the private zone %s has a record for it, so its endpoint may be in another VPC; doctor --probe checks whether it is reached", s.Name, z.name))
		}
	}
	missing = filter(missing, func(s Service) bool { _, ok := central[s.Name]; return !ok })
	if len(missing) == 0 {
		return doctor.OKf("all %d exist, %d of them by a private zone", len(services), len(central)).With(notes...)
	}
	return reportMissing(missing, c.endpointParameters(ctx)).With(notes...)
}

// reportMissing is the finding for one or more missing services.
func reportMissing(missing []Service, p endpointParameters) doctor.Finding {
	var names, details []string
	for _, s := range missing {
		names, details = append(names, s.Name), append(details, s.Name+": "+s.Why)
	}
	if missing[0].Required {
		return doctor.Failf(p.createCommands(missing), "missing: %s", doctor.List(names, 6)).With(details...).At(doctor.Endpoints(names...)...)
	}
	return doctor.Warnf(p.createCommands(missing), "missing, needed by some clusters: %s", doctor.List(names, 6)).With(details...).At(doctor.Endpoints(names...)...)
}

// endpointParameters are the parameters of new endpoints.
type endpointParameters struct {
	region, vpc, securityGroup string
	subnets, routeTables       []string
}

// endpointParameters reads the parameters from the VPC. Those that are unknown are
// placeholders in capitals.
func (c *checker) endpointParameters(ctx context.Context) endpointParameters {
	p := endpointParameters{region: c.region, vpc: "VPC", securityGroup: "SECURITY-GROUP", subnets: []string{"SUBNETS"}, routeTables: []string{"ROUTE-TABLES"}}
	if id, err := c.vpcID(ctx); err == nil {
		p.vpc = id
	}
	if subnets, err := c.subnets(ctx); err == nil {
		p.subnets = onePerZone(subnets)
		if routes, err := c.routing(ctx); err == nil {
			p.routeTables = routes.tablesOf(subnets)
		}
	}
	if endpoints, err := c.endpoints(ctx); err == nil { // new endpoints take the group of existing ones
		if i := slices.IndexFunc(endpoints, func(e endpoint) bool { return len(e.securityGroups) > 0 }); i >= 0 {
			p.securityGroup = endpoints[i].securityGroups[0]
		}
	}
	return p
}

// createCommands returns commands of the AWS CLI and resources of Terraform that
// create endpoints.
func (p endpointParameters) createCommands(services []Service) string {
	list := func(words ...string) string { return `["` + strings.Join(words, `", "`) + `"]` }
	var lines []string
	for _, s := range services {
		kind := "Interface"
		options := fmt.Sprintf("--subnet-ids %s --security-group-ids %s --private-dns-enabled", strings.Join(p.subnets, " "), p.securityGroup)
		arguments := fmt.Sprintf("subnet_ids = %s, security_group_ids = %s, private_dns_enabled = true", list(p.subnets...), list(p.securityGroup))
		if s.Gateway {
			kind, options, arguments = "Gateway", "--route-table-ids "+strings.Join(p.routeTables, " "), "route_table_ids = "+list(p.routeTables...)
		}
		name, resource := s.serviceName(p.region), strings.NewReplacer(".", "_", "-", "_").Replace(s.Name)
		lines = append(lines,
			fmt.Sprintf("aws ec2 create-vpc-endpoint --region %s --vpc-id %s --vpc-endpoint-type %s --service-name %s %s", p.region, p.vpc, kind, name, options),
			fmt.Sprintf("Terraform: resource \"aws_vpc_endpoint\" %q { vpc_id = %q, service_name = %q, vpc_endpoint_type = %q, %s }", resource, p.vpc, name, kind, arguments))
	}
	return strings.Join(lines, "\n")
}

// onePerZone returns the IDs of the first subnet of each availability zone: an
// endpoint accepts no more.
func onePerZone(subnets []subnet) (ids []string) {
	seen := map[string]bool{}
	for _, s := range subnets {
		if !seen[s.zone] {
			seen[s.zone], ids = true, append(ids, s.id)
		}
	}
	return ids
}
