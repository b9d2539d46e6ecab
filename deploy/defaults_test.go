// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"testing"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Fields that the API server sets by default are spelled out in webhooks, policies and
// bindings: else a tool that compares them, such as Argo CD, sees a difference.
// https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/admissionregistration/v1/defaults.go
func TestDefaultsOfTheAPIServerAreSpelledOut(t *testing.T) {
	labeled := rewrite.Config{NamespaceSelector: rewrite.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}
	checked := map[string]int{}
	for _, o := range []Options{{}, {Engine: Policy}, {Guard: GuardDeny}, {Overlays: Overlays()}} {
		for _, config := range []rewrite.Config{{}, labeled} {
			o.Rules, o.Config = rules(t, config), []byte("registry: "+registry)
			objects, err := Objects(o)
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range objects {
				for field, isSet := range defaulted(object) {
					if !isSet {
						t.Errorf("%T: %s has no value", object, field)
					}
					checked[field]++
				}
			}
		}
	}
	if len(checked) < 15 {
		t.Errorf("only %v were checked", checked)
	}
}

// defaulted returns whether the fields that have a default are set.
func defaulted(object any) map[string]bool {
	all := map[string]bool{}
	resources := func(of string, r *admissionregv1.MatchResources) {
		if r == nil {
			return // all resources, by default
		}
		all[of+".matchPolicy"], all[of+".namespaceSelector"], all[of+".objectSelector"] = r.MatchPolicy != nil, r.NamespaceSelector != nil, r.ObjectSelector != nil
		for _, rule := range r.ResourceRules {
			all[of+".scope"] = rule.Scope != nil
		}
	}
	switch o := object.(type) {
	case *admissionregv1.MutatingWebhookConfiguration:
		for _, w := range o.Webhooks {
			for field, isSet := range map[string]bool{
				"failurePolicy": w.FailurePolicy != nil, "matchPolicy": w.MatchPolicy != nil, "timeoutSeconds": w.TimeoutSeconds != nil, "reinvocationPolicy": w.ReinvocationPolicy != nil,
				"namespaceSelector": w.NamespaceSelector != nil, "objectSelector": w.ObjectSelector != nil, "port": w.ClientConfig.Service.Port != nil, "scope": w.Rules[0].Scope != nil,
			} {
				all[w.Name+" "+field] = isSet
			}
		}
	case *admissionregv1.ValidatingAdmissionPolicy:
		all["validating failurePolicy"] = o.Spec.FailurePolicy != nil
		resources(o.Name, o.Spec.MatchConstraints)
	case *admissionregv1.MutatingAdmissionPolicy:
		all["mutating failurePolicy"] = o.Spec.FailurePolicy != nil
		resources(o.Name, o.Spec.MatchConstraints)
	case *admissionregv1.ValidatingAdmissionPolicyBinding:
		resources(o.Name+" binding", o.Spec.MatchResources)
	case *admissionregv1.MutatingAdmissionPolicyBinding:
		resources(o.Name+" binding", o.Spec.MatchResources)
	}
	return all
}
