// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
)

// activeS3 returns the endpoints of S3 that nodes use.
func (c *checker) activeS3(ctx context.Context) ([]endpoint, error) {
	endpoints, err := c.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	return groupByService([]Service{{Name: "s3"}}, c.region, endpoints)[0].active(), nil
}

// skippedWithoutS3 is the finding if there is no endpoint, which other checks
// report.
func skippedWithoutS3() doctor.Finding {
	return doctor.Skippedf("no S3 endpoint is available: see %s/aws-endpoints and %s/endpoint-state", Group, Group)
}

func (c *checker) checkS3Route(ctx context.Context) doctor.Finding {
	endpoints, err := c.activeS3(ctx)
	switch {
	case err != nil:
		return awsapi.Unknown(err)
	case len(endpoints) == 0:
		return skippedWithoutS3()
	case slices.ContainsFunc(endpoints, endpoint.takesName):
		return doctor.OKf("S3 has an interface endpoint, which needs no route")
	case slices.ContainsFunc(endpoints, endpoint.isInterface):
		return doctor.Skippedf("private DNS of %s, the only S3 endpoint, is off in the VPC: see %s/private-dns", endpoints[0].id, Group)
	}
	subnets, err := c.subnets(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	routes, err := c.routing(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return reportS3Route(c.region, endpoints, subnets, routes)
}

// reportS3Route reports the subnets whose route table has a route to none of the
// gateways.
func reportS3Route(region string, gateways []endpoint, subnets []subnet, routes routing) doctor.Finding {
	var found, missing []string
	elements := []doctor.Element{doctor.Endpoint("s3")}
	for _, s := range subnets {
		table := routes.of(s).id
		if !slices.ContainsFunc(gateways, func(e endpoint) bool { return slices.Contains(e.routeTables, table) }) {
			found, missing = append(found, fmt.Sprintf("%s with route table %s", s.id, table)), append(missing, table)
			elements = append(elements, doctor.Subnet(s.id))
		}
	}
	if len(found) > 0 {
		return doctor.Failf(fmt.Sprintf("aws ec2 modify-vpc-endpoint --region %s --vpc-endpoint-id %s --add-route-table-ids %s\nTerraform: resource \"aws_vpc_endpoint\" { route_table_ids = [...] } of the S3 endpoint",
			region, gateways[0].id, strings.Join(doctor.Distinct(missing), " ")),
			"%d of %d subnets have no route to S3", len(found), len(subnets)).With(found...).At(elements...)
	}
	return doctor.OKf("all %d subnets have the route", len(subnets))
}

func (c *checker) checkS3Policy(ctx context.Context) doctor.Finding {
	endpoints, err := c.activeS3(ctx)
	switch {
	case err != nil:
		return awsapi.Unknown(err)
	case len(endpoints) == 0:
		return skippedWithoutS3()
	}
	id, err := c.vpcID(ctx)
	if err != nil {
		return awsapi.Unknown(err)
	}
	return reportS3Policy(c.region, c.Partition, id, endpoints)
}

// awsOwn is the value of keys that belong to an account of AWS, and so equal none of
// the customer's.
const awsOwn = "AWS"

// layerRequest is the request for a layer: ECR redirects clients to URLs that it signs
// itself, for a bucket of its own.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html#ecr-setting-up-s3-gateway
func layerRequest(region, partition, vpc, endpoint string) request {
	keys := networkKeys(region, vpc, endpoint)
	for _, key := range []string{"aws:principalaccount", "aws:principalorgid", "aws:principalarn", "aws:resourceaccount", "aws:resourceorgid"} {
		keys[key] = aws.String(awsOwn)
	}
	return request{action: "s3:GetObject", resource: fmt.Sprintf("arn:%s:s3:::prod-%s-starport-layer-bucket/*", partition, region), keys: keys}
}

// reportS3Policy reports the first endpoint whose policy does not allow reads of
// the bucket in which ECR keeps layers.
func reportS3Policy(region, partition, vpc string, endpoints []endpoint) doctor.Finding {
	var objects string
	for _, e := range endpoints {
		r := layerRequest(region, partition, vpc, e.id)
		objects = r.resource
		if e.policy == "" { // allows all
			continue
		}
		policy, err := parsePolicy([]byte(e.policy))
		if err != nil {
			return unreadablePolicy(region, e, err)
		}
		remedy := allowInPolicy(region, e, policyAddition{Principal: "*", Action: []string{r.action}, Resource: []string{objects}})
		switch decision, reason := policy.evaluate(r); decision {
		case allowed:
		case conditional:
			return doctor.Warnf(remedy, "%s may deny %s on %s: %s", e.id, r.action, objects, reason)
		case denied:
			return doctor.Failf(exemptFromDeny(region, e, r), "%s denies %s on %s: %s", e.id, r.action, objects, reason)
		default:
			return doctor.Failf(remedy, "%s does not allow %s on %s: %s", e.id, r.action, objects, reason)
		}
	}
	return doctor.OKf("s3:GetObject on %s is allowed", objects)
}
