// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestUninstall(t *testing.T) {
	for name, tc := range map[string]struct {
		args      []string
		code      int
		want, not []string
		stderr    string
	}{
		"without any flag":              {nil, 0, []string{"kind: MutatingWebhookConfiguration\n", "name: privatelink-guard-by-label\n", "kind: Namespace\n"}, []string{"cert-manager.io", "MutatingAdmissionPolicy\n", "webhooks:"}, ""},
		"with cert-manager":             {[]string{"--overlay", "cert-manager"}, 0, []string{"kind: Issuer\n", "kind: ClusterRole\n"}, nil, ""},
		"in another namespace":          {[]string{"--namespace", "team-x"}, 0, []string{"namespace: team-x\n"}, []string{"kind: Namespace\n", "castai-privatelink"}, ""},
		"the policy, without the guard": {[]string{"--engine", "policy", "--guard", "off"}, 0, []string{"kind: MutatingAdmissionPolicy\n"}, []string{"ValidatingAdmissionPolicy", "Deployment"}, ""},
		"an unknown engine":             {[]string{"--engine", "x"}, 2, nil, nil, "use webhook or policy"},
		"an unknown guard":              {[]string{"--guard", "x"}, 2, nil, nil, "use warn, deny or off"},
		"an unknown overlay":            {[]string{"--overlay", "x"}, 2, nil, nil, "there are only cert-manager, host-network, monitoring"},
		"a namespace of the policy":     {[]string{"--engine", "policy", "--namespace", "x"}, 2, nil, nil, "engine policy has no pods"},
		"an argument":                   {[]string{"x"}, 2, nil, nil, "--help"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, "", append([]string{"uninstall"}, tc.args...)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) || code != 0 && stdout != "" {
				t.Fatalf("code %d, want %d; stderr %q, stdout %q", code, tc.code, stderr, stdout)
			}
			for _, w := range tc.want {
				if !strings.Contains(stdout, w) {
					t.Errorf("lacks %q", w)
				}
			}
			for _, n := range tc.not {
				if strings.Contains(stdout, n) {
					t.Errorf("has %q", n)
				}
			}
		})
	}
}
