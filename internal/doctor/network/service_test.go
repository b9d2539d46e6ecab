// SPDX-License-Identifier: Apache-2.0

package network

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/deploy"
)

func TestServiceMatches(t *testing.T) {
	castai := Service{Name: "api", FullName: "com.amazonaws.vpce.us-east-1.vpce-svc-1"}
	for name, c := range map[string]struct {
		service        Service
		region, actual string
		want           bool
	}{
		"AWS":                             {Service{Name: "ecr.api"}, "us-east-1", "com.amazonaws.us-east-1.ecr.api", true},
		"China, as elsewhere":             {Service{Name: "s3"}, "cn-north-1", "com.amazonaws.cn-north-1.s3", true},
		"China, with a prefix of its own": {Service{Name: "ecr.dkr"}, "cn-north-1", "cn.com.amazonaws.cn-north-1.ecr.dkr", true},
		"not a longer name":               {Service{Name: "eks"}, "us-east-1", "com.amazonaws.us-east-1.eks-auth", false},
		"not the end of a name":           {Service{Name: "api"}, "us-east-1", "com.amazonaws.us-east-1.ecr.api", false},
		"not another region":              {Service{Name: "s3"}, "us-east-1", "com.amazonaws.us-east-2.s3", false},
		"the full name":                   {castai, "us-east-1", "com.amazonaws.vpce.us-east-1.vpce-svc-1", true},
		"not the short name, with a full": {castai, "us-east-1", "com.amazonaws.us-east-1.api", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.service.matches(c.region, c.actual); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestNeededServices(t *testing.T) {
	table, err := deploy.NeededEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	const custom = "com.amazonaws.vpce.eu-west-1.vpce-svc-0123456789abcdef0"
	for name, c := range map[string]struct {
		region      string
		castaiNames map[string]string
		castai      int
		fullName    string
		err         string
	}{
		"a known region":                   {"us-east-1", nil, len(table.CASTAI), table.Regions["us-east-1"]["api"], ""},
		"an unknown region":                {"eu-west-1", nil, 0, "", ""},
		"given names":                      {"eu-west-1", map[string]string{"api": custom}, 1, custom, ""},
		"given names instead of the table": {"us-east-1", map[string]string{"api": custom}, 1, custom, ""},
		"a service that does not exist":    {"eu-west-1", map[string]string{"apii": custom}, 0, "", `CAST AI has no service "apii": use one of api, `},
	} {
		t.Run(name, func(t *testing.T) {
			aws, castai, err := NeededServices(table, c.region, c.castaiNames)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || len(aws) != len(table.AWS) || len(castai) != c.castai {
				t.Fatalf("%v %v %v", aws, castai, err)
			}
			if c.castai > 0 && (castai[0].Name != "api" || castai[0].FullName != c.fullName || !castai[0].Required) {
				t.Errorf("%+v", castai[0])
			}
			if slices.ContainsFunc(aws, func(s Service) bool { return s.Name == "ec2messages" }) {
				t.Error("AWS retired ec2messages")
			}
			s3 := aws[slices.IndexFunc(aws, func(s Service) bool { return s.Name == "s3" })]
			if !s3.Gateway || !s3.Required || s3.Why == "" {
				t.Errorf("%+v", s3)
			}
		})
	}
}

func TestActiveEndpoints(t *testing.T) {
	available := endpoint{id: "available", state: "available"}
	named := endpoint{id: "named", state: "available", hasPrivateDNS: true}
	gateway := endpoint{id: "gateway", state: types.StateAvailable, isGateway: true}
	inbound := endpoint{id: "inbound", state: "available", hasPrivateDNS: true, isForInboundOnly: true}
	rejected := endpoint{id: "rejected", state: "rejected", hasPrivateDNS: true}
	for name, c := range map[string]struct {
		endpoints []endpoint
		want      []string
	}{
		"none":                             {nil, nil},
		"not available":                    {[]endpoint{rejected}, nil},
		"available without a name":         {[]endpoint{rejected, available}, []string{"available"}},
		"several, one of which has a name": {[]endpoint{available, named}, []string{"named"}},
		"one for on-premises clients only": {[]endpoint{inbound, gateway}, []string{"gateway"}},
		"a gateway and one without a name": {[]endpoint{available, gateway}, []string{"gateway"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range (serviceEndpoints{endpoints: c.endpoints}).active() {
				got = append(got, e.id)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
