// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

func (c *checker) checkIsolation(ctx context.Context) doctor.Finding {
	subnets, err := c.subnets(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	routes, err := c.routing(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return reportIsolation(c.region, subnets, routes)
}

// reportIsolation warns of routes to the internet. They break nothing, and may be
// intended.
func reportIsolation(region string, subnets []subnet, routes routing) doctor.Finding {
	var found, details, remedies []string
	elements := []doctor.Element{doctor.Internet}
	for _, s := range subnets {
		for _, r := range routes.of(s).internet {
			found, elements = append(found, s.id), append(elements, doctor.Subnet(s.id))
			details = append(details, s.id+", "+r.String())
			remedies = append(remedies, deleteRoute(region, r))
		}
	}
	if len(found) == 0 {
		return doctor.OKf("%d subnets have no route to an internet gateway or NAT gateway", len(subnets))
	}
	remedies = append([]string{"if the nodes are to be isolated, delete the routes; if they are not, exclude this check with --skip " + Group + "/isolation"}, doctor.Distinct(remedies)...)
	return doctor.Warnf(strings.Join(remedies, "\n"), "%d of %d subnets have a route to the internet", len(doctor.Distinct(found)), len(subnets)).With(details...).At(elements...)
}

func deleteRoute(region string, r internetRoute) string {
	option := "--destination-cidr-block"
	if strings.Contains(r.destination, ":") {
		option = "--destination-ipv6-cidr-block"
	}
	return fmt.Sprintf("aws ec2 delete-route --region %s --route-table-id %s %s %s", region, r.table, option, r.destination)
}
