// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func TestParseECRHost(t *testing.T) {
	for in, want := range map[string]rewrite.ECRHost{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":                  {Account: "123456789012", Region: "us-east-1", Partition: "aws"},
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com/castai/images": {Account: "123456789012", Region: "eu-central-1", Partition: "aws"},
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com":         {Account: "123456789012", Region: "us-gov-west-1", Partition: "aws-us-gov", FIPS: true},
		"123456789012.dkr-ecr.eu-west-3.on.aws/x":                       {Account: "123456789012", Region: "eu-west-3", Partition: "aws", DualStack: true},
		"123456789012.dkr-ecr-fips.us-east-2.on.aws":                    {Account: "123456789012", Region: "us-east-2", Partition: "aws", DualStack: true, FIPS: true},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":              {Account: "123456789012", Region: "cn-north-1", Partition: "aws-cn", Domain: "amazonaws.com.cn"},
		"123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn":   {Account: "123456789012", Region: "cn-north-1", Partition: "aws-cn", Domain: "amazonaws.com.cn", DualStack: true},
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu":              {Account: "123456789012", Region: "eusc-de-east-1", Partition: "aws-eusc", Domain: "amazonaws.eu"},
		"123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov":                 {Account: "123456789012", Region: "us-iso-east-1", Partition: "aws-iso", Domain: "c2s.ic.gov"},
		"123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov":             {Account: "123456789012", Region: "us-isob-east-1", Partition: "aws-iso-b", Domain: "sc2s.sgov.gov"},
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk":            {Account: "123456789012", Region: "eu-isoe-west-1", Partition: "aws-iso-e", Domain: "cloud.adc-e.uk"},
		"123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov":           {Account: "123456789012", Region: "us-isof-south-1", Partition: "aws-iso-f", Domain: "csp.hci.ic.gov"},
	} {
		want.Name = rewrite.RegistryHost(in)
		if want.Domain == "" {
			want.Domain = "amazonaws.com"
		}
		got, err := rewrite.ParseECRHost(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
		if w := got.Warnings(); len(w) > 0 != got.DualStack {
			t.Errorf("%s: %v", in, w)
		}
		if !rewrite.IsECRHost(got.Name) || !rewrite.IsECRHost(got.Name+":443") {
			t.Errorf("IsECRHost(%q) = false", got.Name)
		}
		if _, err := rewrite.New(rewrite.Config{Registry: in}); err != nil {
			t.Errorf("%s is refused as the registry: %v", in, err)
		}
	}
}

func TestParseECRHostErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "write it like 123456789012.dkr",
		"ghcr.io/castai":                       "not a private ECR registry",
		"public.ecr.aws/x":                     "not a private ECR registry",
		"1234.dkr.ecr.us-east-1.amazonaws.com": "12 digits",
		"ACCOUNT.dkr.ecr.us-east-1.amazonaws.com":                  "12 digits",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com:443/x":       "has no port",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.cn":          "use amazonaws.com",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com":            "use amazonaws.com.cn",
		"123456789012.dkr.ecr.us-east-1.on.aws":                    "use amazonaws.com",
		"123456789012.dkr-ecr.us-east-1.amazonaws.com":             "use on.aws",
		"123456789012.dkr-ecr.us-iso-east-1.on.aws":                "no dual-stack name",
		"123456789012.dkr.ecr.us-east-1.amazonaws.com.example.org": "does not fit",
	} {
		_, err := rewrite.ParseECRHost(in)
		var fault rewrite.Fault
		if !errors.As(err, &fault) || fault.Fix == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseECRHost(%q) = %v, want mention of %q and a remedy", in, err, want)
		}
	}
}

func TestECRHostWarnings(t *testing.T) {
	h, err := rewrite.ParseECRHost("123456789012.dkr.ecr-fips.moon-crater-1.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(h.Warnings(), "\n"); !strings.Contains(got, `"moon-crater-1"`) || !strings.Contains(got, "FIPS") {
		t.Error(got)
	}
}

func TestHostsThatAreNotECR(t *testing.T) {
	for _, host := range []string{
		"", "public.ecr.aws", "12.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr.evil.example", "123456789012.dkr.ecr.us-east-1.amazonaws.com.example",
		"123456789012.dkr.ecr.us-east-1.amazonaws.community", "x123456789012.dkr.ecr.us-east-1.amazonaws.com",
	} {
		if rewrite.IsECRHost(host) {
			t.Errorf("%q is taken for ECR", host)
		}
	}
}
