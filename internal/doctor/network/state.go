// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func (v *vpc) endpointState(ctx context.Context) doctor.Finding {
	found, err := v.present(ctx)
	if err != nil {
		return unseen(err)
	}
	var bad, details, ids []string
	remedies := map[string]bool{}
	for _, k := range found {
		if len(k.serving()) > 0 {
			continue
		}
		bad = append(bad, fmt.Sprintf("%s is %s", k.Name, k.all[0].State))
		for _, e := range k.all {
			line := fmt.Sprintf("%s %s: %s", k.Name, *e.VpcEndpointId, e.State)
			if e.LastError != nil {
				line += ", " + aws.ToString(e.LastError.Message)
			}
			details, ids = append(details, line), append(ids, *e.VpcEndpointId)
			remedies[v.stateRemedy(k.Service, e)] = true
		}
	}
	if len(bad) > 0 {
		lines := []string{fmt.Sprintf("aws ec2 describe-vpc-endpoints --region %s --vpc-endpoint-ids %s", v.region, strings.Join(ids, " "))}
		for r := range remedies {
			lines = append(lines, r)
		}
		slices.Sort(lines[1:])
		return doctor.Failf(strings.Join(lines, "\n"), "%s", doctor.List(bad, 4)).With(details...)
	}
	return doctor.OKf("all are")
}

// stateRemedy says what ends a state.
// https://docs.aws.amazon.com/vpc/latest/privatelink/concepts.html
func (v *vpc) stateRemedy(s Service, e types.VpcEndpoint) string {
	switch {
	case is(e, types.StatePendingAcceptance):
		return "ask the owner of the service to accept it: for CAST AI, its support, with the ID of the endpoint"
	case is(e, types.StatePending):
		return "wait some minutes, and look again"
	case is(e, types.StateRejected), is(e, types.StateExpired):
		return fmt.Sprintf("ask the owner of %s why, then make it anew: aws ec2 delete-vpc-endpoints --region %s --vpc-endpoint-ids %s", v.full(s), v.region, *e.VpcEndpointId)
	}
	return fmt.Sprintf("make it anew: aws ec2 delete-vpc-endpoints --region %s --vpc-endpoint-ids %s", v.region, *e.VpcEndpointId)
}

func (v *vpc) privateDNS(ctx context.Context) doctor.Finding {
	found, err := v.present(ctx)
	if err != nil {
		return unseen(err)
	}
	var off, lines []string
	count := 0
	for _, k := range found {
		serving := k.serving()
		switch {
		case len(serving) == 0: // that is endpoint-state's to tell
		case slices.ContainsFunc(serving, answers):
			count++
		default:
			off = append(off, k.Name)
			lines = append(lines,
				fmt.Sprintf("aws ec2 modify-vpc-endpoint --region %s --vpc-endpoint-id %s --private-dns-enabled", v.region, *serving[0].VpcEndpointId),
				fmt.Sprintf("Terraform: resource \"aws_vpc_endpoint\" { private_dns_enabled = true } of %s", *serving[0].ServiceName))
		}
	}
	if len(off) > 0 {
		return doctor.Failf(strings.Join(lines, "\n"), "off: %s", doctor.List(off, 6))
	}
	return doctor.OKf("on for all %d", count)
}

func (v *vpc) endpointSubnets(ctx context.Context) doctor.Finding {
	found, err := v.present(ctx)
	if err != nil {
		return unseen(err)
	}
	subnets, err := v.subnets(ctx)
	if err != nil {
		return unseen(err)
	}
	everywhere, err := v.allSubnets(ctx)
	if err != nil {
		return unseen(err)
	}
	zoneOf := map[string]string{}
	for _, s := range everywhere {
		zoneOf[*s.SubnetId] = aws.ToString(s.AvailabilityZone)
	}
	var without, lines []string
	for _, k := range found {
		all := interfaces(k.serving())
		if len(all) == 0 {
			continue
		}
		lacks := zones(subnets)
		for _, e := range all {
			lacks = slices.DeleteFunc(lacks, func(zone string) bool {
				return slices.ContainsFunc(e.SubnetIds, func(id string) bool { return zoneOf[id] == zone })
			})
		}
		for _, zone := range v.offered(ctx, *all[0].ServiceName, lacks) {
			without = append(without, k.Name+" in "+zone)
			i := slices.IndexFunc(subnets, func(s types.Subnet) bool { return aws.ToString(s.AvailabilityZone) == zone })
			lines = append(lines, fmt.Sprintf("aws ec2 modify-vpc-endpoint --region %s --vpc-endpoint-id %s --add-subnet-ids %s", v.region, *all[0].VpcEndpointId, *subnets[i].SubnetId))
		}
	}
	if len(without) > 0 {
		return doctor.Warnf(strings.Join(append(lines, "Terraform: add the subnets to subnet_ids of the aws_vpc_endpoint"), "\n"), "no subnet: %s", doctor.List(without, 4)).With(without...)
	}
	return doctor.OKf("all have one in each of %d zones", len(zones(subnets)))
}

// offered leaves out zones in which the service is not to be had: nobody can
// mend that. What cannot be asked is taken for offered.
func (v *vpc) offered(ctx context.Context, service string, in []string) []string {
	if len(in) == 0 {
		return nil
	}
	out, err := v.ec2.DescribeVpcEndpointServices(ctx, &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{service}})
	if err != nil || len(out.ServiceDetails) == 0 || len(out.ServiceDetails[0].AvailabilityZones) == 0 {
		return in
	}
	return slices.DeleteFunc(in, func(zone string) bool { return !slices.Contains(out.ServiceDetails[0].AvailabilityZones, zone) })
}
