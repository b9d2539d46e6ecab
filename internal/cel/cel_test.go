// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"fmt"
	"strings"
	"testing"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// The files in deploy have the expressions of the default rules; these have what
// rules, kept prefixes and other registries add.
func TestExpressions(t *testing.T) {
	for name, config := range map[string]rewrite.Config{
		"rules": {
			Registry: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai",
			Rules: []rewrite.Rule{
				{Source: "quay.io/acme", Target: "acme"},
				{Source: "ghcr.io/castai/images/prometheus", Target: "monitoring/prometheus"},
				{Source: "docker.io", Target: "hub"},
			},
			Keep: []string{"registry.k8s.io", "quay.io/acme/kept", "ghcr.io/castai", "us-docker.pkg.dev"},
		},
		"own-host": {
			Registry: "registry.example.com:5000/castai",
			EnvVars:  []string{},
			Rules:    []rewrite.Rule{{Source: "registry.example.com:5000/public", Target: "public"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := rewrite.New(config)
			if err != nil {
				t.Fatal(err)
			}
			var have strings.Builder
			write := func(of, name, expression string) { fmt.Fprintf(&have, "# %s: %s\n%s\n\n", of, name, expression) }
			conditions := func(of string, all []admissionregv1.MatchCondition) {
				for _, c := range all {
					write(of, c.Name, c.Expression)
				}
			}
			variables := func(of string, all []admissionregv1.Variable) {
				for _, v := range all {
					write(of, v.Name, v.Expression)
				}
			}
			conditions("webhook, pods", PodConditions(r))
			conditions("webhook, ephemeral containers", EphemeralConditions(r))
			conditions("policy", PolicyConditions())
			variables("policy", PolicyVariables(r))
			write("policy", "mutation", PolicyMutation())
			conditions("guard", GuardConditions())
			variables("guard", GuardVariables(r))

			file := "testdata/" + name + ".golden"
			golden.Compare(t, file, []byte(have.String()))
		})
	}
}
