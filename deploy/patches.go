// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/cel"
	"github.com/castai/privatelink-webhook/internal/jsonpatch"
)

// patches are what the options change beyond the registry and the overlays.
func patches(o Options) ([]types.Patch, error) {
	var deployment, configMap, configuration, policy, guard []jsonpatch.Operation
	if o.Image != "" {
		deployment = append(deployment, jsonpatch.Replace("/spec/template/spec/containers/0/image", o.Image))
	}
	if o.Replicas > 0 {
		deployment = append(deployment, jsonpatch.Replace("/spec/replicas", o.Replicas))
	}
	if len(o.Config) > 0 {
		configMap = append(configMap, jsonpatch.Replace("/data/"+ConfigKey, string(o.Config)))
		for i, c := range [][]admissionregv1.MatchCondition{cel.PodConditions(o.Rules), cel.EphemeralConditions(o.Rules)} {
			configuration = append(configuration,
				jsonpatch.Replace(fmt.Sprintf("/webhooks/%d/matchConditions", i), c),
				jsonpatch.Replace(fmt.Sprintf("/webhooks/%d/namespaceSelector/matchExpressions/0/values", i), o.Rules.Namespaces()))
		}
	}
	if len(o.Config) > 0 {
		const namespaces = "/spec/matchConstraints/namespaceSelector/matchExpressions/0/values"
		policy = append(policy, jsonpatch.Replace(namespaces, o.Rules.Namespaces()), jsonpatch.Replace("/spec/variables", cel.PolicyVariables(o.Rules)))
		guard = append(guard, jsonpatch.Replace(namespaces, o.Rules.Namespaces()), jsonpatch.Replace("/spec/variables", cel.GuardVariables(o.Rules)))
	}
	if o.FailurePolicy != "" {
		for i := range 2 {
			configuration = append(configuration, jsonpatch.Replace(fmt.Sprintf("/webhooks/%d/failurePolicy", i), o.FailurePolicy))
		}
		policy = append(policy, jsonpatch.Replace("/spec/failurePolicy", o.FailurePolicy))
	}
	var out []types.Patch
	for _, p := range []struct {
		kind, name string
		ops        []jsonpatch.Operation
	}{
		{"Deployment", Name, deployment},
		{"ConfigMap", Name, configMap},
		{"MutatingWebhookConfiguration", ConfigurationName, configuration},
		{"MutatingAdmissionPolicy", PolicyName, policy},
		{"ValidatingAdmissionPolicy", GuardName, guard},
	} {
		if len(p.ops) == 0 {
			continue
		}
		text, err := yaml.Marshal(p.ops)
		if err != nil {
			return nil, err
		}
		target := types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: p.kind}, Name: p.name}}
		out = append(out, types.Patch{Patch: string(text), Target: &target})
	}
	return out, nil
}
