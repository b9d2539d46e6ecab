// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// policyObjects renders the policy engine with a configuration file.
func policyObjects(t *testing.T, config []byte) (policy *admissionregv1.MutatingAdmissionPolicy, bindings []admissionregv1.MutatingAdmissionPolicyBinding) {
	t.Helper()
	r, err := rewrite.Load("test", config)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Objects(Options{Rules: r, Config: config, Engine: Policy})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		switch o := o.(type) {
		case *admissionregv1.MutatingAdmissionPolicy:
			policy = o
		case *admissionregv1.MutatingAdmissionPolicyBinding:
			bindings = append(bindings, *o)
		}
	}
	return policy, bindings
}

// The configuration that is read from a policy renders the same policy.
func TestPolicyConfig(t *testing.T) {
	const registry = "registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai\n"
	for name, config := range map[string]string{
		"the default": registry,
		"all fields": registry + "namespaces: [castai-agent, '123']\nenvVars: [IMAGE]\nkeep: [registry.k8s.io]\nrules: [{source: quay.io/acme, target: acme}, {source: ghcr.io/castai/images/prom, target: monitoring/prom}]\n" +
			"namespaceSelector: {matchLabels: {liqo.io/tenant: 'yes'}}\n",
		"a selector of expressions": registry + "envVars: []\nnamespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			policy, bindings := policyObjects(t, []byte(config))
			read, err := PolicyConfig(policy, bindings)
			if err != nil {
				t.Fatal(err)
			}
			again, bindingsAgain := policyObjects(t, read)
			if d := cmp.Diff(policy, again) + cmp.Diff(bindings, bindingsAgain); d != "" {
				t.Errorf("%s\n%s", read, d)
			}
		})
	}
	foreign := &admissionregv1.MutatingAdmissionPolicy{}
	foreign.Name = PolicyName
	if _, err := PolicyConfig(foreign, nil); err == nil {
		t.Error("a configuration is read from a policy without data")
	}
}
