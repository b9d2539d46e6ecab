// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// s3 returns the endpoints of S3 that nodes would use.
func (v *vpc) s3(ctx context.Context) ([]types.VpcEndpoint, error) {
	found, err := v.find(ctx, []Service{{Name: "s3"}})
	if err != nil {
		return nil, err
	}
	return found[0].serving(), nil
}

// withoutS3 is the finding where there is none: another check tells that.
var withoutS3 = doctor.Finding{Status: doctor.Skipped, Found: "no S3 endpoint is available: see " + Group + "/aws-endpoints and " + Group + "/endpoint-state"}

func (v *vpc) s3Route(ctx context.Context) doctor.Finding {
	endpoints, err := v.s3(ctx)
	if err != nil {
		return unseen(err)
	}
	if len(endpoints) == 0 {
		return withoutS3
	}
	gateways := slices.DeleteFunc(slices.Clone(endpoints), func(e types.VpcEndpoint) bool { return !isGateway(e) })
	if len(gateways) == 0 {
		return doctor.OKf("S3 has an interface endpoint, that needs no route")
	}
	subnets, err := v.subnets(ctx)
	if err != nil {
		return unseen(err)
	}
	tableOf, err := v.tables(ctx)
	if err != nil {
		return unseen(err)
	}
	var without, tables []string
	for _, s := range subnets {
		table := tablesOf([]types.Subnet{s}, tableOf)[0]
		if slices.ContainsFunc(gateways, func(e types.VpcEndpoint) bool { return slices.Contains(e.RouteTableIds, table) }) {
			continue
		}
		without = append(without, fmt.Sprintf("%s by %s", *s.SubnetId, table))
		tables = append(tables, table)
	}
	if len(without) > 0 && len(interfaces(endpoints)) == 0 {
		slices.Sort(tables)
		return doctor.Failf(fmt.Sprintf("aws ec2 modify-vpc-endpoint --region %s --vpc-endpoint-id %s --add-route-table-ids %s\nTerraform: resource \"aws_vpc_endpoint\" { route_table_ids = [...] } of the S3 endpoint",
			v.region, *gateways[0].VpcEndpointId, strings.Join(slices.Compact(tables), " ")),
			"%d of %d subnets have no route to S3", len(without), len(subnets)).With(without...)
	}
	return doctor.OKf("all %d subnets have the route", len(subnets))
}

// tables are the route tables by subnet; the VPC's main one, which is that of
// all other subnets, by "".
func (v *vpc) tables(ctx context.Context) (map[string]string, error) {
	in, err := v.in(ctx)
	if err != nil {
		return nil, err
	}
	of := map[string]string{}
	pages := ec2.NewDescribeRouteTablesPaginator(v.ec2, &ec2.DescribeRouteTablesInput{Filters: in})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("ec2:DescribeRouteTables", err)
		}
		for _, t := range page.RouteTables {
			for _, a := range t.Associations {
				if a.SubnetId != nil || aws.ToBool(a.Main) {
					of[aws.ToString(a.SubnetId)] = aws.ToString(t.RouteTableId)
				}
			}
		}
	}
	return of, nil
}

// tablesOf are the route tables of subnets, each once.
func tablesOf(subnets []types.Subnet, tableOf map[string]string) (all []string) {
	for _, s := range subnets {
		all = append(all, cmp.Or(tableOf[*s.SubnetId], tableOf[""]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// s3Policy looks for the bucket in which ECR keeps layers.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html#ecr-setting-up-s3-gateway
func (v *vpc) s3Policy(ctx context.Context) doctor.Finding {
	endpoints, err := v.s3(ctx)
	if err != nil {
		return unseen(err)
	}
	if len(endpoints) == 0 {
		return withoutS3
	}
	objects := fmt.Sprintf("arn:%s:s3:::prod-%s-starport-layer-bucket/", v.Partition, v.region)
	for _, e := range endpoints {
		text := aws.ToString(e.PolicyDocument)
		if text == "" {
			continue // all is allowed
		}
		policy, err := parsePolicy([]byte(text))
		if err != nil {
			return doctor.Unknownf(fmt.Sprintf("aws ec2 describe-vpc-endpoints --region %s --vpc-endpoint-ids %s --query 'VpcEndpoints[].PolicyDocument'", v.region, *e.VpcEndpointId), "the policy of %s: %v", *e.VpcEndpointId, err)
		}
		remedy := fmt.Sprintf(`add to the policy of %s (aws ec2 modify-vpc-endpoint --policy-document, Terraform: policy of the aws_vpc_endpoint):`+"\n"+
			`{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "%s*"}`, *e.VpcEndpointId, objects)
		switch answer, why := policy.decide("s3:GetObject", objects); answer {
		case allowed:
		case unclear:
			return doctor.Warnf(remedy, "%s may keep it from %s*: %s", *e.VpcEndpointId, objects, why)
		default:
			if answer == denied {
				remedy = "remove from the policy what denies it; " + remedy
			}
			return doctor.Failf(remedy, "%s does not let s3:GetObject on %s* through: %s", *e.VpcEndpointId, objects, why)
		}
	}
	return doctor.OKf("%s* may be read", objects)
}
