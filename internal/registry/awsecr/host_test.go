// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func TestHostsAreTakenApart(t *testing.T) {
	for in, want := range map[string]Host{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":                  {Account: "123456789012", Region: "us-east-1", Partition: "aws"},
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com/castai/images": {Account: "123456789012", Region: "eu-central-1", Partition: "aws"},
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com":         {Account: "123456789012", Region: "us-gov-west-1", Partition: "aws-us-gov", FIPS: true},
		"123456789012.dkr-ecr.eu-west-3.on.aws/x":                       {Account: "123456789012", Region: "eu-west-3", Partition: "aws", DualStack: true},
		"123456789012.dkr-ecr-fips.us-east-2.on.aws":                    {Account: "123456789012", Region: "us-east-2", Partition: "aws", DualStack: true, FIPS: true},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":              {Account: "123456789012", Region: "cn-north-1", Partition: "aws-cn"},
		"123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn":   {Account: "123456789012", Region: "cn-north-1", Partition: "aws-cn", DualStack: true},
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu":              {Account: "123456789012", Region: "eusc-de-east-1", Partition: "aws-eusc"},
		"123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov":                 {Account: "123456789012", Region: "us-iso-east-1", Partition: "aws-iso"},
		"123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov":             {Account: "123456789012", Region: "us-isob-east-1", Partition: "aws-iso-b"},
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk":            {Account: "123456789012", Region: "eu-isoe-west-1", Partition: "aws-iso-e"},
		"123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov":           {Account: "123456789012", Region: "us-isof-south-1", Partition: "aws-iso-f"},
	} {
		want.Name, _, _ = strings.Cut(in, "/")
		got, err := ParseHost(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
		if odd := got.Warnings(); len(odd) > 0 != got.DualStack {
			t.Errorf("%s: %v", in, odd)
		}
		// The rewriting rules accept the same hosts.
		if _, err := rewrite.New(rewrite.Config{Registry: in}); err != nil {
			t.Errorf("rewrite: %v", err)
		}
	}
}

func TestWhatIsNoRegistryIsRefusedWithAReason(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "write it like 123456789012.dkr",
		"ghcr.io/castai":                       "not a private ECR registry",
		"public.ecr.aws/x":                     "not a private ECR registry",
		"1234.dkr.ecr.us-east-1.amazonaws.com": "12 digits",
		"ACCOUNT.dkr.ecr.us-east-1.amazonaws.com":                  "12 digits",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com:443/x":       "not a private ECR registry",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.cn":          "ends in amazonaws.com",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com":            "ends in amazonaws.com.cn",
		"123456789012.dkr.ecr.us-east-1.on.aws":                    "ends in amazonaws.com",
		"123456789012.dkr-ecr.us-east-1.amazonaws.com":             "ends in on.aws",
		"123456789012.dkr-ecr.us-iso-east-1.on.aws":                "no dual-stack name",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.example.org": "does not fit",
	} {
		_, err := ParseHost(in)
		mustSay(t, err, want)
	}
}

func TestUnknownRegionsAreAWarning(t *testing.T) {
	h, err := ParseHost("123456789012.dkr.ecr-fips.moon-crater-1.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(h.Warnings(), "\n"); !strings.Contains(got, `"moon-crater-1"`) || !strings.Contains(got, "FIPS") {
		t.Error(got)
	}
}
