// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"fmt"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/cel"
	"github.com/castai/privatelink-webhook/internal/jsonpatch"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// edits are what the options change in one object, by kind and name.
type edits struct {
	kind, name string
	operations []jsonpatch.Operation
}

// patches are what the options change beyond the registry and the overlays.
func patches(o Options) ([]types.Patch, error) {
	deployment := edits{kind: "Deployment", name: Name}
	if o.Image != "" {
		deployment.replace("/spec/template/spec/containers/0/image", o.Image)
	}
	if o.Replicas > 0 {
		deployment.replace("/spec/replicas", o.Replicas)
	}
	all := []edits{deployment}
	if len(o.Config) > 0 {
		all = append(all, configured(o)...)
	}
	if o.FailurePolicy != "" {
		configuration, policy := edits{kind: "MutatingWebhookConfiguration", name: ConfigurationName}, edits{kind: "MutatingAdmissionPolicy", name: PolicyName}
		for i := range entries(o.Rules) {
			configuration.replace(fmt.Sprintf("/webhooks/%d/failurePolicy", i), o.FailurePolicy)
		}
		policy.replace("/spec/failurePolicy", o.FailurePolicy)
		all = append(all, configuration, policy)
	}
	return toPatches(all)
}

func toPatches(all []edits) ([]types.Patch, error) {
	var out []types.Patch
	for _, e := range all {
		if len(e.operations) == 0 {
			continue
		}
		text, err := yaml.Marshal(e.operations)
		if err != nil {
			return nil, err
		}
		target := types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: e.kind}, Name: "^" + e.name + "$"}}
		out = append(out, types.Patch{Patch: string(text), Target: &target})
	}
	return out, nil
}

func (e *edits) replace(path string, value any) {
	e.operations = append(e.operations, jsonpatch.Replace(path, value))
}

// entries is the number of entries of the webhook configuration: pods and
// ephemeral containers, by the names of namespaces and by their labels.
func entries(r *rewrite.Rules) int {
	if r.NamespaceSelector().IsEmpty() {
		return 2
	}
	return 4
}

// configured are the edits that a configuration file makes.
func configured(o Options) []edits {
	configMap := edits{kind: "ConfigMap", name: Name}
	configMap.replace("/data/"+ConfigKey, string(o.Config))
	configuration := edits{kind: "MutatingWebhookConfiguration", name: ConfigurationName}
	conditions := [][]admissionregv1.MatchCondition{cel.PodConditions(o.Rules), cel.EphemeralConditions(o.Rules)}
	selector := o.Rules.NamespaceSelector(cmp.Or(o.Namespace, Namespace))
	for i := range entries(o.Rules) {
		at := fmt.Sprintf("/webhooks/%d", i)
		configuration.replace(at+"/matchConditions", conditions[i%2])
		if i < 2 {
			configuration.replace(at+"/namespaceSelector/matchExpressions/0/values", o.Rules.Namespaces())
		} else {
			configuration.replace(at+"/namespaceSelector", selector)
		}
	}
	all := []edits{configMap, configuration}
	for _, p := range []struct {
		kind, name string
		variables  []admissionregv1.Variable
	}{
		{"MutatingAdmissionPolicy", PolicyName, cel.PolicyVariables(o.Rules)},
		{"ValidatingAdmissionPolicy", GuardName, cel.GuardVariables(o.Rules)},
	} {
		policy := edits{kind: p.kind, name: p.name}
		policy.replace("/spec/variables", p.variables)
		if selector.IsEmpty() {
			policy.replace("/spec/matchConstraints/namespaceSelector/matchExpressions/0/values", o.Rules.Namespaces())
			all = append(all, policy)
			continue
		}
		byName := edits{kind: p.kind + "Binding", name: p.name}
		byName.replace("/spec/matchResources/namespaceSelector/matchExpressions/0/values", o.Rules.Namespaces())
		byLabel := edits{kind: p.kind + "Binding", name: p.name + ByLabel}
		byLabel.replace("/spec/matchResources/namespaceSelector", selector)
		all = append(all, policy, byName, byLabel)
	}
	return all
}
