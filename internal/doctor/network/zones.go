// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// hostedZone is a private hosted zone of a customer that the VPC resolves.
type hostedZone struct {
	id, name, owner string
}

// checkPrivateZones checks the private hosted zones of the VPC. For each name, the zone
// with the longest matching name answers alone: a host without a record in it does not
// exist. Private DNS of an endpoint is such a zone too.
// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/hosted-zone-private-considerations.html
func (c *checker) checkPrivateZones(ctx context.Context) doctor.Finding {
	zones, err := c.hostedZones(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	endpoints, err := c.endpoints(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	names := c.neededNames(endpoints)
	shadows := findShadows(zones, names)
	for i, s := range shadows {
		records, err := c.records(ctx, s.zone)
		if err != nil {
			return doctor.Unknownf(fmt.Sprintf("the caller needs route53:ListResourceRecordSets; a zone of another account is read with credentials of account %s: aws route53 list-resource-record-sets --hosted-zone-id %s", s.zone.owner, s.zone.id),
				"zone %s answers for %s, and its records cannot be read: %v", s.zone.name, doctor.List(s.hosts, 3), err)
		}
		shadows[i].hosts = filter(s.hosts, func(host string) bool { return !hasRecord(records, host) })
	}
	id, err := c.vpcID(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return reportPrivateZones(c.region, id, zones, filter(shadows, func(s shadow) bool { return len(s.hosts) > 0 }))
}

// hostedZones returns the zones of the VPC that do not belong to a service of AWS.
func (c *checker) hostedZones(ctx context.Context) ([]hostedZone, error) {
	return c.zonesOnce.Get(ctx, c.readHostedZones)
}

func (c *checker) readHostedZones(ctx context.Context) (zones []hostedZone, err error) {
	id, err := c.vpcID(ctx)
	if err != nil {
		return nil, err
	}
	in := &route53.ListHostedZonesByVPCInput{VPCId: &id, VPCRegion: r53types.VPCRegion(c.region)}
	for {
		out, err := c.route53.ListHostedZonesByVPC(ctx, in)
		if err != nil {
			return nil, awsapi.NewError("route53:ListHostedZonesByVPC", err)
		}
		for _, z := range out.HostedZoneSummaries {
			if z.Owner != nil && z.Owner.OwningService == nil {
				zones = append(zones, hostedZone{aws.ToString(z.HostedZoneId), strings.TrimSuffix(aws.ToString(z.Name), "."), aws.ToString(z.Owner.OwningAccount)})
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return zones, nil
		}
	}
}

// records returns the names in a zone.
func (c *checker) records(ctx context.Context, z hostedZone) ([]string, error) {
	pages := route53.NewListResourceRecordSetsPaginator(c.route53, &route53.ListResourceRecordSetsInput{HostedZoneId: &z.id})
	return awsapi.Collect(ctx, "route53:ListResourceRecordSets", pages, func(p *route53.ListResourceRecordSetsOutput) (names []string) {
		for _, r := range p.ResourceRecordSets {
			if r.Type != r53types.RRTypeNs && r.Type != r53types.RRTypeSoa {
				names = append(names, strings.TrimSuffix(strings.ReplaceAll(aws.ToString(r.Name), `\052`, "*"), "."))
			}
		}
		return names
	})
}

// hasRecord reports whether a host, or a wildcard that matches it, is among records.
func hasRecord(records []string, host string) bool {
	if slices.Contains(records, host) {
		return true
	}
	for {
		_, parent, ok := strings.Cut(host, ".")
		if !ok {
			return false
		}
		if slices.Contains(records, "*."+parent) {
			return true
		}
		host = parent
	}
}

// centralZones returns the zones that have a record for the host of a service, by service
// name. Endpoints in another VPC are used so: their own private DNS works in that VPC only.
// https://docs.aws.amazon.com/whitepapers/latest/building-scalable-secure-multi-vpc-network-infrastructure/centralized-access-to-vpc-private-endpoints.html
func (c *checker) centralZones(ctx context.Context, services []Service) (map[string]hostedZone, error) {
	zones, err := c.hostedZones(ctx)
	if err != nil {
		return nil, err
	}
	central := map[string]hostedZone{}
	for _, s := range services {
		host, _ := c.hostOf(s)
		for _, shadow := range findShadows(zones, []neededName{{host: host}}) {
			records, err := c.records(ctx, shadow.zone)
			if err != nil {
				return nil, err
			}
			if hasRecord(records, host) {
				central[s.Name] = shadow.zone
			}
		}
	}
	return central, nil
}

// neededName is a host that nodes and pods connect to.
type neededName struct {
	host string
	// zone is the name of the zone of its endpoint, or "" without one.
	zone string
}

// neededNames returns the hosts of the services.
func (c *checker) neededNames(endpoints []endpoint) (names []neededName) {
	for _, s := range groupByService(slices.Concat(c.Services, c.CASTAI), c.region, endpoints) {
		host, zone := c.hostOf(s.Service)
		if host == "" {
			continue
		}
		if !slices.ContainsFunc(s.active(), endpoint.takesName) {
			zone = ""
		}
		names = append(names, neededName{host, zone})
	}
	return names
}

// hostOf returns the host of a service, and the name that private DNS of its endpoint
// takes over.
func (c *checker) hostOf(s Service) (host, zone string) {
	domain := "amazonaws.com"
	if c.Partition == "aws-cn" {
		domain += ".cn"
	}
	switch host := s.Name + "." + c.region + "." + domain; {
	case s.FullName != "":
		return s.Host, s.Host
	case s.Name == "s3":
		return fmt.Sprintf("prod-%s-starport-layer-bucket.%s", c.region, host), host
	case s.Name == "ecr.api":
		host = fmt.Sprintf("api.ecr.%s.%s", c.region, domain)
		return host, host
	case s.Name == "ecr.dkr":
		registry, _, _ := strings.Cut(c.Registry, "/")
		return registry, fmt.Sprintf("dkr.ecr.%s.%s", c.region, domain)
	case s.Name == "eks-auth":
		host = fmt.Sprintf("eks-auth.%s.api.aws", c.region)
		return host, host
	default:
		return host, host
	}
}

// shadow is a zone that answers for hosts in place of the public zone or an endpoint.
type shadow struct {
	zone  hostedZone
	hosts []string
}

// findShadows returns the zones that answer for needed names.
func findShadows(zones []hostedZone, names []neededName) (shadows []shadow) {
	for _, z := range zones {
		s := shadow{zone: z}
		for _, n := range names {
			isLonger := func(o hostedZone) bool { return len(o.name) > len(z.name) && isIn(n.host, o.name) }
			if isIn(n.host, z.name) && len(z.name) > len(n.zone) && !slices.ContainsFunc(zones, isLonger) {
				s.hosts = append(s.hosts, n.host)
			}
		}
		if len(s.hosts) > 0 {
			shadows = append(shadows, s)
		}
	}
	return shadows
}

// isIn reports whether a host is in a zone.
func isIn(host, zone string) bool { return host == zone || strings.HasSuffix(host, "."+zone) }

// castaiDomain has hosts that are not known, such as that of the artifacts.
const castaiDomain = "cast.ai"

func reportPrivateZones(region, vpc string, zones []hostedZone, shadows []shadow) doctor.Finding {
	remedy := func(z hostedZone) string {
		return "add records for these hosts to the zone or, if nothing else in it is used in " + vpc + ":\n" +
			fmt.Sprintf("aws route53 disassociate-vpc-from-hosted-zone --hosted-zone-id %s --vpc VPCRegion=%s,VPCId=%s", z.id, region, vpc)
	}
	var found, details, remedies []string
	for _, s := range shadows {
		found = append(found, s.zone.name)
		details = append(details, fmt.Sprintf("%s (%s, account %s) has no record for %s", s.zone.name, s.zone.id, s.zone.owner, strings.Join(s.hosts, ", ")))
		remedies = append(remedies, remedy(s.zone))
	}
	if len(found) > 0 {
		return doctor.Failf(strings.Join(remedies, "\n"), "private zones hide hosts that are needed: %s", doctor.List(found, 4)).With(details...)
	}
	for _, z := range zones {
		if z.name == castaiDomain {
			return doctor.Warnf(remedy(z), "the private zone %s hides all hosts of CAST AI without an endpoint", z.name).With(fmt.Sprintf("%s, account %s", z.id, z.owner))
		}
	}
	return doctor.OKf("%d private zones of the VPC hide no host that is needed", len(zones))
}
