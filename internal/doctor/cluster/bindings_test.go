// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCompareBinding(t *testing.T) {
	selects := func(value string) *admissionv1.MatchResources {
		return &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": value}}}
	}
	defaulted := selects("yes")
	defaulted.ObjectSelector = &metav1.LabelSelector{}
	narrowed := selects("yes")
	narrowed.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	for name, tc := range map[string]struct {
		want, got *admissionv1.MatchResources
		different []string
	}{
		"none":                     {nil, nil, nil},
		"none, with the defaults":  {nil, &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{}}, nil},
		"as rendered":              {selects("yes"), defaulted, nil},
		"another label":            {selects("yes"), selects("no"), []string{"spec.matchResources.namespaceSelector of the binding b"}},
		"removed":                  {selects("yes"), nil, []string{"spec.matchResources.namespaceSelector of the binding b"}},
		"narrowed to some objects": {selects("yes"), narrowed, []string{"spec.matchResources of the binding b"}},
	} {
		have := differingFields(compareBinding(binding{name: "b", policy: "p", resources: tc.want}, binding{name: "b", policy: "p", resources: tc.got}))
		if d := cmp.Diff(tc.different, have); d != "" {
			t.Errorf("%s: -want +have\n%s", name, d)
		}
	}
}
