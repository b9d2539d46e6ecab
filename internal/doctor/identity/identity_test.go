// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

func TestThePrincipalIsWhatPoliciesAreAttachedTo(t *testing.T) {
	for name, c := range map[string]struct {
		caller, name string
		known        bool
	}{
		"a user":             {"arn:aws:iam::123456789012:user/ann", "ann", true},
		"a user with a path": {"arn:aws-cn:iam::123456789012:user/platform/ci/ann", "ann", true},
		"the account itself": {"arn:aws:iam::123456789012:root", "", false},
		"a federated user":   {"arn:aws:sts::123456789012:federated-user/ann", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := arn.Parse(c.caller)
			if err != nil {
				t.Fatal(err)
			}
			full, short, known := newAsker(Config{}).principal(t.Context(), parsed)
			if known != c.known || short != c.name || known && full != c.caller {
				t.Errorf("%q %q %v", full, short, known)
			}
		})
	}
}

func TestTheRepositoriesAreThoseOfThePrefix(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"a prefix":  {Config{Account: "123456789012", Region: "us-east-1", Prefix: "castai"}, "arn:aws:ecr:us-east-1:123456789012:repository/castai/*"},
		"no prefix": {Config{Account: "123456789012", Region: "us-east-1"}, "arn:aws:ecr:us-east-1:123456789012:repository/*"},
		"in China":  {Config{Account: "123456789012", Region: "cn-north-1", Partition: "aws-cn", Prefix: "a/b"}, "arn:aws-cn:ecr:cn-north-1:123456789012:repository/a/b/*"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newAsker(c.config).repositories(); got != c.want {
				t.Error(got)
			}
		})
	}
}
