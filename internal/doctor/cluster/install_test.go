// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A remedy leaves the objects with the tool that has installed them.
func TestInstallCommand(t *testing.T) {
	byHelm := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		"meta.helm.sh/release-name": "images", "meta.helm.sh/release-namespace": "platform",
	}}}
	byHelm4 := byHelm.DeepCopy()
	byHelm4.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "privatelink-webhook", Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(`{"f:webhooks":{}}`)},
		{Manager: "helm", Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:meta.helm.sh/release-name":{}}}}`)},
	}
	byHelm.ManagedFields = []metav1.ManagedFieldsEntry{byHelm4.ManagedFields[0],
		{Manager: "helm", Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: byHelm4.ManagedFields[1].FieldsV1}}
	const upgrade = "privatelink chart --to privatelink-webhook.tgz\n" +
		"privatelink chart values --config privatelink.yaml | helm upgrade images privatelink-webhook.tgz --namespace platform --reset-then-reuse-values --values - --wait"
	for name, tc := range map[string]struct {
		engine  Engine
		release Release
		want    string
	}{
		"kubectl":             {Webhook, ReleaseOf(&admissionv1.MutatingWebhookConfiguration{}), "privatelink install --config privatelink.yaml | kubectl apply -f -"},
		"kubectl, the policy": {Policy, Release{}, "privatelink install --config privatelink.yaml --engine policy | kubectl apply -f -"},
		"Helm 3":              {Webhook, ReleaseOf(byHelm), upgrade},
		"Helm 4":              {Webhook, ReleaseOf(byHelm4), upgrade + " --force-conflicts"},
	} {
		if got := InstallCommand(tc.engine, tc.release); got != tc.want {
			t.Errorf("%s: %s\nwant %s", name, got, tc.want)
		}
	}
}
