// SPDX-License-Identifier: Apache-2.0

package target

import (
	"strings"
	"testing"
)

func TestTarget(t *testing.T) {
	for name, tc := range map[string]struct {
		target Target
		line   string
		header string
	}{
		"nothing is known": {Target{}, "the cluster", ""},
		"inside a pod":     {Target{Server: "https://10.0.0.1:443"}, "the cluster (https://10.0.0.1:443)", "server    https://10.0.0.1:443\n"},
		"a registry alone": {Target{Registry: "r.example.com/castai"}, "the cluster", "registry  r.example.com/castai\n"},
		"an EKS cluster": {
			Target{Context: "admin", Server: "https://x.eks.amazonaws.com", Cluster: "prod", Account: "123456789012", Region: "eu-central-1", Registry: "r/castai"},
			"the cluster prod (context admin, https://x.eks.amazonaws.com)",
			"context   admin\nserver    https://x.eks.amazonaws.com\nAWS       prod, eu-central-1, account 123456789012\nregistry  r/castai\n",
		},
		"an account alone": {Target{Account: "123456789012"}, "the cluster", "AWS       account 123456789012\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var header strings.Builder
			if err := tc.target.Write(&header); err != nil || header.String() != tc.header || tc.target.String() != tc.line {
				t.Errorf("%q, header %q (%v), want %q, %q", tc.target, &header, err, tc.line, tc.header)
			}
		})
	}
}
