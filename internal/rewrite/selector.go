// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// NamespaceNameLabel is the label in which the API server keeps a namespace's name.
const NamespaceNameLabel = "kubernetes.io/metadata.name"

// LabelSelector selects namespaces by their labels. It has the form and, unless it
// is empty, the meaning of Kubernetes' LabelSelector; an empty one selects none.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
type LabelSelector struct {
	MatchLabels      map[string]string  `json:"matchLabels,omitempty"`
	MatchExpressions []LabelRequirement `json:"matchExpressions,omitempty"`
}

// LabelRequirement is a condition on the label Key. Values are those of the
// operators In and NotIn; Exists and DoesNotExist have none.
type LabelRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// Operators of a LabelRequirement.
const (
	opIn           = "In"
	opNotIn        = "NotIn"
	opExists       = "Exists"
	opDoesNotExist = "DoesNotExist"
)

// IsEmpty reports whether the selector selects no namespace.
func (s LabelSelector) IsEmpty() bool { return len(s.MatchLabels)+len(s.MatchExpressions) == 0 }

// Matches reports whether the selector selects a namespace with the labels.
func (s LabelSelector) Matches(labels map[string]string) bool {
	for key, value := range s.MatchLabels {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	return !s.IsEmpty() && !slices.ContainsFunc(s.MatchExpressions, func(r LabelRequirement) bool { return !r.matches(labels) })
}

func (r LabelRequirement) matches(labels map[string]string) bool {
	value, ok := labels[r.Key]
	switch r.Operator {
	case opIn:
		return ok && slices.Contains(r.Values, value)
	case opNotIn:
		return !ok || !slices.Contains(r.Values, value)
	case opExists:
		return ok
	}
	return !ok
}

// String returns the selector as kubectl --selector and the API's parameter
// labelSelector take it.
func (s LabelSelector) String() string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		all = append(all, key+"="+s.MatchLabels[key])
	}
	for _, r := range s.MatchExpressions {
		switch r.Operator {
		case opExists:
			all = append(all, r.Key)
		case opDoesNotExist:
			all = append(all, "!"+r.Key)
		default:
			all = append(all, r.Key+" "+strings.ToLower(r.Operator)+" ("+strings.Join(r.Values, ",")+")")
		}
	}
	return strings.Join(all, ",")
}

func (s LabelSelector) clone() LabelSelector {
	s.MatchLabels, s.MatchExpressions = maps.Clone(s.MatchLabels), slices.Clone(s.MatchExpressions)
	for i := range s.MatchExpressions {
		s.MatchExpressions[i].Values = slices.Clone(s.MatchExpressions[i].Values)
	}
	return s
}

// NamespaceSelector selects the namespaces whose pods are rewritten in addition to
// those that Namespaces lists; it is empty if the configuration has none. It
// selects neither those, so that no namespace is matched twice, nor the ones of
// the cluster itself and the given ones.
func (r *Rules) NamespaceSelector(except ...string) LabelSelector {
	s := r.config.NamespaceSelector.clone()
	if s.IsEmpty() {
		return s
	}
	names := slices.Concat(r.config.Namespaces, reservedNamespaces(), except)
	slices.Sort(names)
	s.MatchExpressions = append(s.MatchExpressions, LabelRequirement{Key: NamespaceNameLabel, Operator: opNotIn, Values: slices.Compact(names)})
	return s
}

// Selects reports whether pods of the namespace are rewritten. labels are those of
// the namespace, without the one that has its name.
func (r *Rules) Selects(namespace string, labels map[string]string) bool {
	if slices.Contains(r.config.Namespaces, namespace) {
		return true
	}
	all := map[string]string{NamespaceNameLabel: namespace}
	maps.Copy(all, labels)
	return r.NamespaceSelector().Matches(all)
}

// reservedNamespaces must not wait for a webhook: the cluster's own and ours.
func reservedNamespaces() []string {
	return []string{"castai-privatelink", "kube-node-lease", "kube-public", "kube-system"}
}

// The syntax of label keys and values.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
var (
	labelKey   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
	// kubernetesKey is a label that Kubernetes and its components set by themselves.
	kubernetesKey = regexp.MustCompile(`^([^/]*[.])?(kubernetes|k8s)[.]io/`)
)

// namespaceSelector refuses what is not a selector, and a selector that a
// namespace could meet without a label of its owner's choice: kube-system and the
// webhook's own namespace have only labels that Kubernetes and its components set.
func (v *validator) namespaceSelector() {
	const field = "namespaceSelector"
	s := v.config.NamespaceSelector
	chosen := false
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		v.labelKey(field+".matchLabels."+key, key, opIn)
		v.labelValue(field+".matchLabels."+key, s.MatchLabels[key])
		chosen = chosen || !kubernetesKey.MatchString(key)
	}
	for i, r := range s.MatchExpressions {
		at := fmt.Sprintf("%s.matchExpressions[%d]", field, i)
		v.labelKey(at+".key", r.Key, r.Operator)
		for j, value := range r.Values {
			v.labelValue(fmt.Sprintf("%s.values[%d]", at, j), value)
		}
		switch r.Operator {
		case opIn, opNotIn:
			if len(r.Values) == 0 {
				v.fault(at+".values", "is empty", "list at least one value for "+r.Operator)
			}
		case opExists, opDoesNotExist:
			if len(r.Values) > 0 {
				v.fault(at+".values", r.Operator+" takes no values", "remove them, or use In or NotIn")
			}
		default:
			v.fault(at+".operator", fmt.Sprintf("%q is not an operator", r.Operator), "use In, NotIn, Exists or DoesNotExist")
		}
		chosen = chosen || (r.Operator == opIn || r.Operator == opExists) && !kubernetesKey.MatchString(r.Key)
	}
	if !s.IsEmpty() && !chosen {
		v.fault(field, "selects namespaces that have no label of yours, so it could select kube-system and the webhook's own", "require a label of your own: matchLabels, or matchExpressions with In or Exists")
	}
}

func (v *validator) labelKey(field, key, operator string) {
	switch {
	case !labelKey.MatchString(key):
		v.fault(field, fmt.Sprintf("%q is not the key of a label", key), "write it like app or example.com/team")
	case key == NamespaceNameLabel && operator == opIn:
		v.fault(field, "selects namespaces by name", "list the names in namespaces")
	}
}

func (v *validator) labelValue(field, value string) {
	if !labelValue.MatchString(value) {
		v.fault(field, fmt.Sprintf("%q is not the value of a label", value), "use at most 63 letters, digits, hyphens, dots and underscores, with a letter or digit first and last")
	}
}
