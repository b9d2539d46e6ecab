// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// expect compares a finding, of whose remedy only a part is given.
func expect(t *testing.T, got doctor.Finding, status doctor.Status, found, remedy string) {
	t.Helper()
	if got.Status != status || got.Found != found || !strings.Contains(got.Remedy, remedy) || (remedy == "") != (got.Remedy == "") {
		t.Errorf("%s: %s\n%q\n%s", got.Status, got.Found, got.Details, got.Remedy)
	}
}

// tables returns the routing of pairs of a subnet and a route table.
func tables(pairs ...string) routing {
	r := routing{}
	for i := 0; i+1 < len(pairs); i += 2 {
		r[pairs[i]] = routeTable{id: pairs[i+1]}
	}
	return r
}

func TestMissingServices(t *testing.T) {
	services := []Service{{Name: "logs"}, {Name: "ecr.api", Required: true}, {Name: "eks"}, {Name: "sts", Required: true}}
	missing := missingServices(services, "us-east-1", []endpoint{{service: "com.amazonaws.us-east-1.eks"}})
	var names []string
	for _, s := range missing {
		names = append(names, s.Name)
	}
	if d := diff([]string{"ecr.api", "sts", "logs"}, names); d != "" {
		t.Error(d)
	}
}

func TestReportMissing(t *testing.T) {
	p := endpointParameters{region: "us-east-1", vpc: "vpc-1", securityGroup: "sg-1", subnets: []string{"subnet-1", "subnet-2"}, routeTables: []string{"rtb-1"}}
	const ecr = "aws ec2 create-vpc-endpoint --region us-east-1 --vpc-id vpc-1 --vpc-endpoint-type Interface --service-name com.amazonaws.us-east-1.ecr.api --subnet-ids subnet-1 subnet-2 --security-group-ids sg-1 --private-dns-enabled\n" +
		`Terraform: resource "aws_vpc_endpoint" "ecr_api" { vpc_id = "vpc-1", service_name = "com.amazonaws.us-east-1.ecr.api", vpc_endpoint_type = "Interface", subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = ["sg-1"], private_dns_enabled = true }`
	const s3 = "aws ec2 create-vpc-endpoint --region us-east-1 --vpc-id vpc-1 --vpc-endpoint-type Gateway --service-name com.amazonaws.us-east-1.s3 --route-table-ids rtb-1\n" +
		`Terraform: resource "aws_vpc_endpoint" "s3" { vpc_id = "vpc-1", service_name = "com.amazonaws.us-east-1.s3", vpc_endpoint_type = "Gateway", route_table_ids = ["rtb-1"] }`
	const api = "--vpc-endpoint-type Interface --service-name com.amazonaws.vpce.us-east-1.vpce-svc-1 "
	for name, c := range map[string]struct {
		missing       []Service
		status        doctor.Status
		found, remedy string
	}{
		"required":    {[]Service{{Name: "ecr.api", Required: true}}, doctor.Failed, "missing: ecr.api", ecr},
		"a gateway":   {[]Service{{Name: "s3", Required: true, Gateway: true}, {Name: "logs"}}, doctor.Failed, "missing: s3, logs", s3},
		"CAST AI":     {[]Service{{Name: "api", FullName: "com.amazonaws.vpce.us-east-1.vpce-svc-1", Required: true}}, doctor.Failed, "missing: api", api},
		"recommended": {[]Service{{Name: "ecr.api"}}, doctor.Warning, "missing, needed by some clusters: ecr.api", ecr},
	} {
		t.Run(name, func(t *testing.T) { expect(t, reportMissing(c.missing, p), c.status, c.found, c.remedy) })
	}
}

func TestEndpointPlacement(t *testing.T) {
	subnets := append(testSubnets(), subnet{id: "subnet-3", zone: "us-east-1a"})
	if d := diff([]string{"subnet-1", "subnet-2"}, onePerZone(subnets)); d != "" {
		t.Error(d)
	}
	if d := diff([]string{"rtb-1", "rtb-main"}, tables("", "rtb-main", "subnet-2", "rtb-1").tablesOf(subnets)); d != "" {
		t.Error(d)
	}
}

func TestReportState(t *testing.T) {
	of := func(endpoints ...endpoint) []serviceEndpoints {
		return []serviceEndpoints{{Service{Name: "api", FullName: "vpce-svc-1"}, endpoints}}
	}
	for name, c := range map[string]struct {
		services      []serviceEndpoints
		status        doctor.Status
		found, remedy string
	}{
		"available":              {of(endpoint{state: "available"}), doctor.OK, "all are available", ""},
		"one of two is rejected": {of(endpoint{state: "rejected"}, endpoint{state: "available"}), doctor.OK, "all are available", ""},
		"waits for acceptance":   {of(endpoint{id: "vpce-1", state: "pendingAcceptance"}), doctor.Failed, "api is pendingAcceptance", "--vpc-endpoint-ids vpce-1\nask the owner of the service to accept it"},
		"is being created":       {of(endpoint{state: "pending"}), doctor.Failed, "api is pending", "wait some minutes"},
		"rejected":               {of(endpoint{id: "vpce-1", state: "rejected", lastError: "no"}), doctor.Failed, "api is rejected", "ask the owner of vpce-svc-1 for the reason, then delete and create it again: aws ec2 delete-vpc-endpoints --region us-east-1 --vpc-endpoint-ids vpce-1"},
		"failed":                 {of(endpoint{state: "failed"}), doctor.Failed, "api is failed", "\ndelete and create it again"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, reportState("us-east-1", c.services), c.status, c.found, c.remedy) })
	}
	if got := reportState("us-east-1", of(endpoint{id: "vpce-1", state: "failed", lastError: "no"})); got.Details[0] != "api vpce-1: failed, no" {
		t.Errorf("%q", got.Details)
	}
}

func TestReportPrivateDNS(t *testing.T) {
	services := []serviceEndpoints{
		{Service{Name: "s3"}, []endpoint{{state: "available", isGateway: true}}},
		{Service{Name: "sts"}, []endpoint{{state: "available", hasPrivateDNS: true}}},
		{Service{Name: "ec2"}, []endpoint{{state: "rejected"}}},
	}
	expect(t, reportPrivateDNS("us-east-1", services), doctor.OK, "enabled for all 2", "")
	services = append(services, serviceEndpoints{Service{Name: "api"}, []endpoint{{id: "vpce-1", service: "vpce-svc-1", state: "available"}}})
	expect(t, reportPrivateDNS("us-east-1", services), doctor.Failed, "disabled: api",
		"aws ec2 modify-vpc-endpoint --region us-east-1 --vpc-endpoint-id vpce-1 --private-dns-enabled\nTerraform: resource \"aws_vpc_endpoint\" { private_dns_enabled = true } of vpce-svc-1")
}

func TestReportPrivateDNSForInboundOnly(t *testing.T) {
	s3 := []serviceEndpoints{{Service{Name: "s3"}, []endpoint{{id: "vpce-1", service: "com.amazonaws.us-east-1.s3", state: "available", hasPrivateDNS: true, isForInboundOnly: true}}}}
	expect(t, reportPrivateDNS("us-east-1", s3), doctor.Failed, "disabled: s3",
		"aws ec2 modify-vpc-endpoint --region us-east-1 --vpc-endpoint-id vpce-1 --dns-options PrivateDnsOnlyForInboundResolverEndpoint=false\n"+
			"Terraform: resource \"aws_vpc_endpoint\" { dns_options { private_dns_only_for_inbound_resolver_endpoint = false } } of com.amazonaws.us-east-1.s3")
}

func TestZoneGaps(t *testing.T) {
	subnets := testSubnets()
	vpcSubnets := append(testSubnets(), subnet{id: "subnet-other", zone: "us-east-1b"})
	of := func(endpoints ...endpoint) []serviceEndpoints {
		for i := range endpoints {
			endpoints[i].state, endpoints[i].hasPrivateDNS = "available", true
		}
		return []serviceEndpoints{{Service{Name: "api"}, endpoints}}
	}
	first, second, other := endpoint{id: "vpce-1", subnets: []string{"subnet-1"}}, endpoint{id: "vpce-2", subnets: []string{"subnet-2"}}, endpoint{id: "vpce-3", subnets: []string{"subnet-1", "subnet-other"}}
	for name, c := range map[string]struct {
		services []serviceEndpoints
		want     []string
	}{
		"one endpoint in one zone":       {of(first), []string{"us-east-1b"}},
		"two endpoints":                  {of(first, second), nil},
		"another subnet of the zone":     {of(other), nil},
		"a gateway":                      {of(endpoint{isGateway: true}), nil},
		"an endpoint that has no subnet": {of(endpoint{id: "vpce-4"}), []string{"us-east-1a", "us-east-1b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, g := range zoneGaps(c.services, subnets, vpcSubnets) {
				got = append(got, g.zones...)
			}
			if d := diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	expect(t, reportZoneGaps("us-east-1", []zoneGap{{"api", first, []string{"us-east-1b"}}}, subnets), doctor.Warning, "no subnet: api in us-east-1b",
		"aws ec2 modify-vpc-endpoint --region us-east-1 --vpc-endpoint-id vpce-1 --add-subnet-ids subnet-2\nTerraform: ")
	expect(t, reportZoneGaps("us-east-1", []zoneGap{{"api", first, nil}}, subnets), doctor.OK, "all have a subnet in each of 2 zones", "")
}

func TestReportSubnetTags(t *testing.T) {
	subnets := testSubnets()
	expect(t, reportSubnetTags("us-east-1", subnets), doctor.OK, "all 2 subnets have the tag", "")
	expect(t, reportSubnetTags("us-east-1", nil), doctor.Skipped, "all subnets are public: see network/isolation", "")
	subnets[1].isRoutable = false
	expect(t, reportSubnetTags("us-east-1", subnets), doctor.Failed, "1 of 2 subnets do not have the tag", "aws ec2 create-tags --region us-east-1 --resources subnet-2 --tags Key=cast.ai/routable,Value=true")
}

func TestReportDNS(t *testing.T) {
	for name, c := range map[string]struct {
		facts         dnsFacts
		status        doctor.Status
		found, remedy string
	}{
		"the VPC's resolver":           {dnsFacts{"vpc-1", true, true, true, []string{amazonDNS}}, doctor.OK, "both are enabled in vpc-1, and its nodes use the VPC's resolver", ""},
		"no name servers":              {dnsFacts{"vpc-1", true, true, true, nil}, doctor.OK, "both are enabled in vpc-1, and its nodes use the VPC's resolver", ""},
		"the VPC's and another":        {dnsFacts{"vpc-1", true, true, true, []string{"10.9.0.2", amazonDNS}}, doctor.OK, "both are enabled in vpc-1, and its nodes use the VPC's resolver", ""},
		"no support":                   {dnsFacts{"vpc-1", false, true, false, nil}, doctor.Failed, "disabled in vpc-1: enableDnsSupport", "--vpc-id vpc-1 --enable-dns-support\n"},
		"no hostnames":                 {dnsFacts{"vpc-1", true, false, false, nil}, doctor.Failed, "disabled in vpc-1: enableDnsHostnames", "--vpc-id vpc-1 --enable-dns-hostnames\n"},
		"neither":                      {dnsFacts{"vpc-1", false, false, false, nil}, doctor.Failed, "disabled in vpc-1: enableDnsSupport, enableDnsHostnames", "enable_dns_support = true"},
		"no DHCP options":              {dnsFacts{"vpc-1", true, true, false, nil}, doctor.Warning, "both are enabled in vpc-1, but it has no DHCP options, so that nodes have no DNS server", "domain-name-servers=AmazonProvidedDNS"},
		"servers that may not forward": {dnsFacts{"vpc-1", true, true, true, []string{"10.9.0.2"}}, doctor.Warning, "both are enabled in vpc-1, but its nodes use the DNS servers 10.9.0.2, which may not resolve private DNS", "forward amazonaws.com and cast.ai"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, c.facts.report("us-east-1"), c.status, c.found, c.remedy) })
	}
}

func TestReportS3Route(t *testing.T) {
	subnets, gateways := testSubnets(), []endpoint{{id: "vpce-1", routeTables: []string{"rtb-1", "rtb-main"}}, {id: "vpce-2", routeTables: []string{"rtb-2"}}}
	for name, c := range map[string]struct {
		tables        routing
		status        doctor.Status
		found, remedy string
	}{
		"own route tables":          {tables("subnet-1", "rtb-1", "subnet-2", "rtb-2"), doctor.OK, "all 2 subnets have the route", ""},
		"the main route table":      {tables("", "rtb-main"), doctor.OK, "all 2 subnets have the route", ""},
		"a table without the route": {tables("", "rtb-main", "subnet-2", "rtb-3"), doctor.Failed, "1 of 2 subnets have no route to S3", "--vpc-endpoint-id vpce-1 --add-route-table-ids rtb-3\n"},
		"the same table twice":      {tables("", "rtb-3"), doctor.Failed, "2 of 2 subnets have no route to S3", "--add-route-table-ids rtb-3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, reportS3Route("us-east-1", gateways, subnets, c.tables), c.status, c.found, c.remedy)
		})
	}
}

func TestReportS3Policy(t *testing.T) {
	const allow = `{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}`
	for name, c := range map[string]struct {
		policies      []string
		status        doctor.Status
		found, remedy string
	}{
		"none":  {[]string{""}, doctor.OK, "s3:GetObject on " + objects + "* is allowed", ""},
		"allow": {[]string{allow}, doctor.OK, "s3:GetObject on " + objects + "* is allowed", ""},
		"Deny only, as in an example of another project": {[]string{`{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}}`}, doctor.Failed,
			"vpce-0 does not allow s3:GetObject on " + objects + "*: no statement allows it", "aws ec2 modify-vpc-endpoint --region us-east-1 --vpc-endpoint-id vpce-0 --policy-document '{"},
		"not allowed by the second endpoint": {[]string{allow, `{"Statement": []}`}, doctor.Failed,
			"vpce-1 does not allow s3:GetObject on " + objects + "*: no statement allows it", "--vpc-endpoint-id vpce-1 "},
		"denied": {[]string{`{"Statement": {"Sid": "a", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}`}, doctor.Failed,
			"vpce-0 denies s3:GetObject on " + objects + "*: statement a denies it", "remove this from the denying statement"},
		"conditional": {[]string{`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:PrincipalIsAWSService": "false"}}}}`}, doctor.Warning,
			"vpce-0 may deny s3:GetObject on " + objects + "*: a statement allows it depending on aws:PrincipalIsAWSService [false]", `"Resource":["` + objects + `*"]`},
		"not a policy": {[]string{"{"}, doctor.Unknown, "the policy of vpce-0: not an IAM policy: unexpected end of JSON input", "aws ec2 describe-vpc-endpoints"},
	} {
		t.Run(name, func(t *testing.T) {
			var endpoints []endpoint
			for i, p := range c.policies {
				endpoints = append(endpoints, endpoint{id: "vpce-" + string(rune('0'+i)), policy: p})
			}
			expect(t, reportS3Policy("us-east-1", "aws", "vpc-1", endpoints), c.status, c.found, c.remedy)
		})
	}
}

func TestReportIsolation(t *testing.T) {
	route := func(destination, target string) types.RouteTable {
		r := types.Route{State: types.RouteStateActive}
		if strings.Contains(destination, ":") {
			r.DestinationIpv6CidrBlock = &destination
		} else {
			r.DestinationCidrBlock = &destination
		}
		switch strings.Split(target, "-")[0] {
		case "nat":
			r.NatGatewayId = &target
		case "eigw":
			r.EgressOnlyInternetGatewayId = &target
		case "tgw":
			r.TransitGatewayId = &target
		default:
			r.GatewayId = &target
		}
		return types.RouteTable{RouteTableId: aws.String("rtb-1"), Routes: []types.Route{r}}
	}
	gone := route("0.0.0.0/0", "nat-1")
	gone.Routes[0].State = types.RouteStateBlackhole
	for name, c := range map[string]struct {
		table  types.RouteTable
		status doctor.Status
		remedy string
	}{
		"an internet gateway":             {route("0.0.0.0/0", "igw-1"), doctor.Warning, "aws ec2 delete-route --region us-east-1 --route-table-id rtb-1 --destination-cidr-block 0.0.0.0/0"},
		"a NAT gateway":                   {route("0.0.0.0/0", "nat-1"), doctor.Warning, "--skip network/isolation"},
		"half of all addresses":           {route("128.0.0.0/1", "nat-1"), doctor.Warning, "128.0.0.0/1"},
		"IPv6":                            {route("::/0", "eigw-1"), doctor.Warning, "--destination-ipv6-cidr-block ::/0"},
		"the network of the organization": {route("0.0.0.0/0", "tgw-1"), doctor.OK, ""},
		"a private NAT gateway":           {route("10.9.0.0/16", "nat-1"), doctor.OK, ""},
		"a gateway that was deleted":      {gone, doctor.OK, ""},
		"the S3 gateway":                  {route("0.0.0.0/0", "vpce-1"), doctor.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := reportIsolation("us-east-1", testSubnets(), routing{"": newRouteTable(c.table)})
			if f.Status != c.status || !strings.Contains(f.Remedy, c.remedy) || (c.remedy == "") != (f.Remedy == "") {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestSubnetIsForPods(t *testing.T) {
	for name, c := range map[string]struct {
		cidr string
		tags map[string]string
		want bool
	}{
		"private addresses":                    {"10.0.1.0/24", nil, false},
		"shared addresses":                     {"100.64.0.0/19", nil, true},
		"shared addresses of another cluster":  {"100.64.0.0/19", map[string]string{"kubernetes.io/cluster/other": "shared"}, false},
		"shared addresses of both clusters":    {"100.64.0.0/19", map[string]string{"kubernetes.io/cluster/other": "shared", "kubernetes.io/cluster/prod": "shared"}, true},
		"private addresses with the CNI's tag": {"10.0.1.0/24", map[string]string{cniTag: "1"}, true},
	} {
		if got := (subnet{cidr: netip.MustParsePrefix(c.cidr), tags: c.tags}).isForPods("prod"); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
