// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"testing"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// TestNamespacesAreSelectedByNameAndByLabel creates pods in namespaces that either
// selector matches, under both engines and the guard. A namespace is matched once.
func TestNamespacesAreSelectedByNameAndByLabel(t *testing.T) {
	c := rewrite.Config{Registry: corpus.Registry, NamespaceSelector: rewrite.LabelSelector{
		MatchExpressions: []rewrite.LabelRequirement{{Key: tenantLabel, Operator: "In", Values: []string{"yes", "true"}}},
	}}
	a, p := start(t, c), startPolicies(t, c, deploy.Options{FailurePolicy: "Fail"})
	public := podsWith("busybox", "")["container"]
	left := podsWith("Registry.example.com/x", "")["container"]
	for namespace, selected := range map[string]bool{"castai-agent": true, tenant: true, "default": false, "kube-system": false, deploy.Namespace: false} {
		want, calls, warnings := "busybox", int64(0), 0
		if selected {
			want, calls, warnings = corpus.Registry+"/docker.io/library/busybox", 1, 1
		}
		before := a.calls.Load()
		byWebhook, _, err := a.create(namespace, public)
		if err != nil || byWebhook.Spec.Containers[0].Image != want || a.calls.Load()-before != calls {
			t.Errorf("webhook, %s: %v, image %s, %d calls; want %s, %d", namespace, err, byWebhook.Spec.Containers[0].Image, a.calls.Load()-before, want, calls)
		}
		byPolicy, err := p.create(namespace, public)
		if err != nil || byPolicy.Spec.Containers[0].Image != want {
			t.Errorf("policy, %s: %v, image %s, want %s", namespace, err, byPolicy.Spec.Containers[0].Image, want)
		}
		if v := p.watch(namespace, left, nil, ""); len(v.warnings) != warnings {
			t.Errorf("guard, %s: warnings %q, want %d", namespace, v.warnings, warnings)
		}
	}
}
