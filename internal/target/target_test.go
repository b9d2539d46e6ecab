// SPDX-License-Identifier: Apache-2.0

package target

import "testing"

func TestTarget(t *testing.T) {
	for name, tc := range map[string]struct {
		target Target
		line   string
	}{
		"nothing is known": {Target{}, "the cluster"},
		"inside a pod":     {Target{Server: "https://10.0.0.1:443"}, "the cluster (https://10.0.0.1:443)"},
		"a registry alone": {Target{Registry: "r.example.com/castai"}, "the cluster"},
		"an EKS cluster": {
			Target{Context: "admin", Server: "https://x.eks.amazonaws.com", Cluster: "prod", Account: "123456789012", Region: "eu-central-1", Registry: "r/castai"},
			"the cluster prod (context admin, https://x.eks.amazonaws.com)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.target.String() != tc.line {
				t.Errorf("%q, want %q", tc.target, tc.line)
			}
		})
	}
}
