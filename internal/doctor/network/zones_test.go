// SPDX-License-Identifier: Apache-2.0

package network

import (
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

func TestFindShadows(t *testing.T) {
	const s3, dkr = "prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com", "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	names := []neededName{{s3, ""}, {dkr, "dkr.ecr.us-east-1.amazonaws.com"}, {"api.cast.ai", "api.cast.ai"}}
	for name, c := range map[string]struct {
		zones []string
		want  []string // zone of the host, for each shadow
	}{
		"the parent of all: endpoints have longer names": {[]string{"amazonaws.com"}, []string{"amazonaws.com " + s3}},
		"the registry itself":                            {[]string{dkr}, []string{dkr + " " + dkr}},
		"the longest name decides":                       {[]string{"amazonaws.com", "s3.us-east-1.amazonaws.com"}, []string{"s3.us-east-1.amazonaws.com " + s3}},
		"the end of a label":                             {[]string{"ws.com", "st.ai"}, nil},
		"the parent of a host with an endpoint":          {[]string{"cast.ai"}, nil},
		"another one":                                    {[]string{"corp.example"}, nil},
	} {
		var zones []hostedZone
		for _, z := range c.zones {
			zones = append(zones, hostedZone{name: z})
		}
		var got []string
		for _, s := range findShadows(zones, names) {
			got = append(got, s.zone.name+" "+strings.Join(s.hosts, " "))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestHasRecord(t *testing.T) {
	records := []string{"a.example", "*.b.example"}
	for host, want := range map[string]bool{"a.example": true, "x.a.example": false, "x.b.example": true, "y.x.b.example": true, "b.example": false} {
		if got := hasRecord(records, host); got != want {
			t.Errorf("%s: %t", host, got)
		}
	}
}

func TestPrivateZones(t *testing.T) {
	zone := func(name, rest string) string {
		return `<HostedZoneSummaries><HostedZoneSummary><HostedZoneId>Z1</HostedZoneId><Name>` + name + `.</Name><Owner>` + rest + `</Owner></HostedZoneSummary></HostedZoneSummaries><MaxItems>100</MaxItems>`
	}
	const account = "<OwningAccount>210987654321</OwningAccount>"
	record := func(name string) string {
		return `<ResourceRecordSets><ResourceRecordSet><Name>` + name + `.</Name><Type>A</Type></ResourceRecordSet></ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>300</MaxItems>`
	}
	for name, c := range map[string]struct {
		zones, records string
		status         doctor.Status
		remedy         string
	}{
		"it has a wildcard":          {zone("s3.us-east-1.amazonaws.com", account), record(`\052.s3.us-east-1.amazonaws.com`), doctor.OK, ""},
		"it has other records":       {zone("amazonaws.com", account), record("ec2.amazonaws.com"), doctor.Failed, "aws route53 disassociate-vpc-from-hosted-zone --hosted-zone-id Z1 --vpc VPCRegion=us-east-1,VPCId=vpc-1"},
		"its records are not seen":   {zone("amazonaws.com", account), "", doctor.Unknown, "credentials of account 210987654321"},
		"it belongs to a service":    {zone("amazonaws.com", "<OwningService>vpce.amazonaws.com</OwningService>"), "", doctor.OK, ""},
		"it may hide unknown hosts":  {zone("cast.ai", account), "", doctor.Warning, "add records"},
		"it hides nothing of these":  {zone("corp.example", account), "", doctor.OK, ""},
		"it hides an endpoint's own": {zone("123456789012.dkr.ecr.us-east-1.amazonaws.com", account), record("x.example"), doctor.Failed, "add records"},
	} {
		t.Run(name, func(t *testing.T) {
			responses := healthyVPC()
			responses["route53:ListHostedZonesByVPC"] = c.zones
			if c.records != "" {
				responses["route53:ListResourceRecordSets"] = c.records
			}
			config := testConfig(t, responses)
			config.Services = append(config.Services, Service{Name: "ecr.dkr"})
			r := runChecks(t, config)["private-zones"]
			if r.Status != c.status && (r.Status != "" || c.status != doctor.OK) || !strings.Contains(r.Remedy, c.remedy) {
				t.Errorf("%s: %s %q; %s", r.Status, r.Found, r.Details, r.Remedy)
			}
		})
	}
}

func TestHostOf(t *testing.T) {
	for name, want := range map[string][2]string{
		"ecr.api":  {"api.ecr.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn"},
		"ecr.dkr":  {"1.dkr.ecr.cn-north-1.amazonaws.com.cn", "dkr.ecr.cn-north-1.amazonaws.com.cn"},
		"s3":       {"prod-cn-north-1-starport-layer-bucket.s3.cn-north-1.amazonaws.com.cn", "s3.cn-north-1.amazonaws.com.cn"},
		"sts":      {"sts.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn"},
		"eks-auth": {"eks-auth.cn-north-1.api.aws", "eks-auth.cn-north-1.api.aws"},
	} {
		c := &checker{Config: Config{Partition: "aws-cn", Registry: "1.dkr.ecr.cn-north-1.amazonaws.com.cn/castai"}, region: "cn-north-1"}
		if host, zone := c.hostOf(Service{Name: name}); [2]string{host, zone} != want {
			t.Errorf("%s: %s %s", name, host, zone)
		}
	}
}
