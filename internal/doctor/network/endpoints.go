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

// names of a service as endpoints have it. AWS's own begin with com.amazonaws in
// most partitions, and some in China with cn.com.amazonaws.
// https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
func (s Service) names(region, service string) bool {
	if s.FullName != "" {
		return service == s.FullName
	}
	return strings.HasSuffix(service, "com.amazonaws."+region+"."+s.Name)
}

// full is the name for a command that makes the endpoint.
func (v *vpc) full(s Service) string {
	if s.FullName != "" {
		return s.FullName
	}
	return "com.amazonaws." + v.region + "." + s.Name
}

// kept are a service and its endpoints in the VPC.
type kept struct {
	Service
	all []types.VpcEndpoint
}

// serving are the endpoints that a node would use: available ones, and among them
// those that its names lead to. There may be several.
func (k kept) serving() []types.VpcEndpoint {
	available := slices.DeleteFunc(slices.Clone(k.all), func(e types.VpcEndpoint) bool { return !is(e, types.StateAvailable) })
	if named := slices.DeleteFunc(slices.Clone(available), func(e types.VpcEndpoint) bool { return !answers(e) }); len(named) > 0 {
		return named
	}
	return available
}

// is tells the state. AWS writes it small, the SDK does not.
func is(e types.VpcEndpoint, s types.State) bool {
	return strings.EqualFold(string(e.State), string(s))
}

// answers tells whether a service's own name leads to an endpoint: by private
// DNS, or because it is a route.
func answers(e types.VpcEndpoint) bool {
	return isGateway(e) || aws.ToBool(e.PrivateDnsEnabled)
}

func isGateway(e types.VpcEndpoint) bool { return e.VpcEndpointType == types.VpcEndpointTypeGateway }

// interfaces are the endpoints that have network interfaces.
func interfaces(all []types.VpcEndpoint) []types.VpcEndpoint {
	return slices.DeleteFunc(slices.Clone(all), isGateway)
}

// find returns, for each service, its endpoints; none if it has none.
func (v *vpc) find(ctx context.Context, services []Service) (found []kept, err error) {
	all, err := v.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		k := kept{Service: s}
		for _, e := range all {
			if s.names(v.region, aws.ToString(e.ServiceName)) {
				k.all = append(k.all, e)
			}
		}
		found = append(found, k)
	}
	return found, nil
}

// present are the needed services that have an endpoint, of AWS and of CAST AI.
func (v *vpc) present(ctx context.Context) ([]kept, error) {
	found, err := v.find(ctx, slices.Concat(v.Services, v.CASTAI))
	return slices.DeleteFunc(found, func(k kept) bool { return len(k.all) == 0 }), err
}

func (v *vpc) awsEndpoints(ctx context.Context) doctor.Finding {
	found, err := v.find(ctx, v.Services)
	if err != nil {
		return unseen(err)
	}
	var required, recommended, details []string
	var missing []Service
	for _, k := range found {
		switch {
		case len(k.all) > 0:
			continue
		case k.Required:
			required = append(required, k.Name)
		default:
			recommended = append(recommended, k.Name)
		}
		missing = append(missing, k.Service)
		details = append(details, k.Name+": "+k.Why)
	}
	switch {
	case len(required) > 0:
		return doctor.Failf(v.create(ctx, missing), "missing: %s", doctor.List(slices.Concat(required, recommended), 6)).With(details...)
	case len(recommended) > 0:
		return doctor.Warnf(v.create(ctx, missing), "missing, needed by some clusters: %s", doctor.List(recommended, 6)).With(details...)
	}
	return doctor.OKf("all %d are there", len(found))
}

func (v *vpc) castaiEndpoints(ctx context.Context) doctor.Finding {
	if len(v.CASTAI) == 0 {
		return doctor.Unknownf("ask CAST AI for the names of its services in "+v.region+", and give them (com.amazonaws.vpce."+v.region+".vpce-svc-ID)",
			"no PrivateLink services of CAST AI are known for %s", v.region)
	}
	found, err := v.find(ctx, v.CASTAI)
	if err != nil {
		return unseen(err)
	}
	var missing []Service
	var names, details []string
	for _, k := range found {
		if len(k.all) == 0 {
			missing, names, details = append(missing, k.Service), append(names, k.Name), append(details, k.Name+": "+k.Why)
		}
	}
	if len(missing) > 0 {
		return doctor.Failf(v.create(ctx, missing), "missing: %s", strings.Join(names, ", ")).With(details...)
	}
	return doctor.OKf("all %d are there", len(found))
}

// create is the remedy for services without an endpoint. What cannot be looked
// up stands there in capitals.
func (v *vpc) create(ctx context.Context, missing []Service) string {
	id, subnets, tables, group := "VPC", "SUBNETS", "ROUTE-TABLES", "SECURITY-GROUP"
	if vpc, err := v.id(ctx); err == nil {
		id = vpc
	}
	if all, err := v.subnets(ctx); err == nil {
		subnets = strings.Join(onePerZone(all), " ")
		if of, err := v.tables(ctx); err == nil {
			tables = strings.Join(tablesOf(all, of), " ")
		}
	}
	if all, err := v.endpoints(ctx); err == nil { // what lets in to others will do
		if i := slices.IndexFunc(all, func(e types.VpcEndpoint) bool { return len(e.Groups) > 0 }); i >= 0 {
			group = aws.ToString(all[i].Groups[0].GroupId)
		}
	}
	list := func(words string) string { return `["` + strings.ReplaceAll(words, " ", `", "`) + `"]` }
	var lines []string
	for _, s := range missing {
		kind, rest := "Interface", fmt.Sprintf("--subnet-ids %s --security-group-ids %s --private-dns-enabled", subnets, group)
		terraform := fmt.Sprintf("subnet_ids = %s, security_group_ids = %s, private_dns_enabled = true", list(subnets), list(group))
		if s.Gateway {
			kind, rest, terraform = "Gateway", "--route-table-ids "+tables, "route_table_ids = "+list(tables)
		}
		lines = append(lines,
			fmt.Sprintf("aws ec2 create-vpc-endpoint --region %s --vpc-id %s --vpc-endpoint-type %s --service-name %s %s", v.region, id, kind, v.full(s), rest),
			fmt.Sprintf("Terraform: resource \"aws_vpc_endpoint\" %q { vpc_id = %q, service_name = %q, vpc_endpoint_type = %q, %s }", strings.NewReplacer(".", "_", "-", "_").Replace(s.Name), id, v.full(s), kind, terraform))
	}
	return strings.Join(lines, "\n")
}

// onePerZone is what an endpoint takes.
func onePerZone(subnets []types.Subnet) (ids []string) {
	seen := map[string]bool{}
	for _, s := range subnets {
		if zone := aws.ToString(s.AvailabilityZone); !seen[zone] {
			seen[zone], ids = true, append(ids, *s.SubnetId)
		}
	}
	return ids
}
