// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"testing"

	arv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// applyServerSide makes the configuration as Helm 4 and GitOps tools do.
func (a *api) applyServerSide(webhooks ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var entries []any
	for _, name := range webhooks {
		entries = append(entries, map[string]any{
			"name": name, "sideEffects": "None", "admissionReviewVersions": []any{"v1"},
			"clientConfig": map[string]any{"service": map[string]any{"namespace": namespace, "name": service}},
		})
	}
	gvk := arv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration")
	applied := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": configuration}, "webhooks": entries}}
	applied.SetGroupVersionKind(gvk)
	live := a.config
	if live == nil {
		live = &arv1.MutatingWebhookConfiguration{}
		live.SetGroupVersionKind(gvk)
	}
	out, err := a.fields.Apply(live, applied, "helm", false)
	if err != nil {
		a.t.Errorf("server-side apply: %v", err)
		return
	}
	a.keep(out.(*arv1.MutatingWebhookConfiguration))
}

// If the webhook owned more than the bundle, the name and the bundle of an entry would
// remain, without the fields that are required.
func TestServerSideApplyRemovesAnEntryWithABundle(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.setCA(t, "ca")
	for range 2 {
		a.applyServerSide("pods", "ephemeral")
		if _, err := a.publisher().publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(a.bundles()) != 2 || !a.allHold(a.ca()) {
			t.Fatalf("the CA is not in both entries: %v", a.bundles())
		}
		a.applyServerSide("pods")
		if got := a.bundles(); len(got) != 1 || got[0].name != "pods" || !a.allHold(a.ca()) {
			t.Fatalf("after a release with an entry less: %v", got)
		}
	}
}
