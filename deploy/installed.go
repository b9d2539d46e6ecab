// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"fmt"
	"slices"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/cel"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// PolicyConfig returns the text of a configuration file that renders an installed
// MutatingAdmissionPolicy and its bindings. The policy engine has no ConfigMap.
func PolicyConfig(policy *admissionregv1.MutatingAdmissionPolicy, bindings []admissionregv1.MutatingAdmissionPolicyBinding) ([]byte, error) {
	c, err := cel.ParseData(policy.Spec.Variables)
	if err != nil {
		return nil, fmt.Errorf("MutatingAdmissionPolicy %s: %w: it was not made by this program", policy.Name, err)
	}
	if policy.Spec.MatchConstraints == nil {
		return nil, fmt.Errorf("MutatingAdmissionPolicy %s has no matchConstraints", policy.Name)
	}
	byName := policy.Spec.MatchConstraints.NamespaceSelector
	for _, b := range bindings {
		if b.Spec.MatchResources == nil {
			continue
		}
		switch b.Name {
		case policy.Name: // there are bindings by name and by label
			byName = b.Spec.MatchResources.NamespaceSelector
		case policy.Name + ByLabel:
			c.NamespaceSelector = labelSelector(b.Spec.MatchResources.NamespaceSelector)
		}
	}
	if c.Namespaces = selectedNames(byName); len(c.Namespaces) == 0 {
		return nil, errors.New("the policy selects no namespace by name")
	}
	fields := map[string]any{"registry": c.Registry, "namespaces": c.Namespaces, "envVars": c.EnvVars}
	if len(c.Rules) > 0 {
		fields["rules"] = c.Rules
	}
	if len(c.Keep) > 0 {
		fields["keep"] = c.Keep
	}
	if !c.NamespaceSelector.IsEmpty() {
		fields["namespaceSelector"] = c.NamespaceSelector
	}
	return yaml.Marshal(fields)
}

// selectedNames returns the names that a selector lists.
func selectedNames(s *metav1.LabelSelector) []string {
	if s == nil {
		return nil
	}
	for _, e := range s.MatchExpressions {
		if e.Key == rewrite.NamespaceNameLabel && e.Operator == metav1.LabelSelectorOpIn {
			return e.Values
		}
	}
	return nil
}

// labelSelector returns the selector of the configuration: the rendered one ends with the
// namespaces that are always excluded.
func labelSelector(s *metav1.LabelSelector) (c rewrite.LabelSelector) {
	if s == nil {
		return c
	}
	c.MatchLabels = s.MatchLabels
	for _, e := range s.MatchExpressions {
		c.MatchExpressions = append(c.MatchExpressions, rewrite.LabelRequirement{Key: e.Key, Operator: string(e.Operator), Values: e.Values})
	}
	if n := len(c.MatchExpressions); n > 0 {
		if last := c.MatchExpressions[n-1]; last.Key == rewrite.NamespaceNameLabel && last.Operator == string(metav1.LabelSelectorOpNotIn) {
			c.MatchExpressions = slices.Delete(c.MatchExpressions, n-1, n)
		}
	}
	return c
}
