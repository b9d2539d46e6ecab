// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/deploy"
)

// A field that the API server adds to what was rendered is a difference that Argo CD
// reports forever.
func TestRenderedSpecsAreWhatTheAPIServerStores(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), deploy.ConfigKey)
	if err := os.WriteFile(file, []byte(moreEntries), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"the bundle":          {"--registry", ecr},
		"a guard that denies": {"--registry", ecr, "--guard", "deny"},
		"another policy":      {"--registry", ecr, "--failure-policy", "Ignore"},
		"cert-manager":        {"--registry", ecr, "--overlay", "cert-manager"},
		"namespaces by label": {"--config", file},
		"the policy":          {"--registry", ecr, "--engine", "policy"},
		"the policy by label": {"--config", file, "--engine", "policy"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "the policy") {
				needs(t, mutatingPolicies)
			}
			if n := storedAsRendered(t, privatelink(t, append([]string{"install"}, args...)...)); n < 3 {
				t.Errorf("only %d objects were compared", n)
			}
		})
	}
}

// storedAsRendered compares each webhook configuration, policy and binding with what a
// server-side dry run makes of it, and returns their number.
func storedAsRendered(t *testing.T, manifests []byte) (compared int) {
	t.Helper()
	for _, o := range objects(t, manifests) {
		want := o.(map[string]any)
		if !strings.HasPrefix(fmt.Sprint(want["apiVersion"]), "admissionregistration.k8s.io/") {
			continue
		}
		compared++
		metadata := want["metadata"].(map[string]any)
		metadata["name"] = fmt.Sprint("rendered-", metadata["name"]) // the object itself may exist
		text, err := yaml.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(kubectl(t, text, "create", "--dry-run=server", "-o", "json", "-f", "-")), &got); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"spec", "webhooks"} {
			if d := cmp.Diff(normal(t, want[field]), got[field]); d != "" {
				t.Errorf("%s %s (-rendered +stored):\n%s", want["kind"], metadata["name"], d)
			}
		}
	}
	return compared
}

// normal returns a value as JSON has it.
func normal(t *testing.T, value any) (out any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
