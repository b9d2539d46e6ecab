// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

func TestNamespaceSelector(t *testing.T) {
	r, err := rewrite.Load("f.yaml", []byte("registry: "+corpus.Registry+`
namespaces: [castai-agent]
namespaceSelector:
  matchLabels: {example.com/tenant: "yes"}
  matchExpressions:
  - {key: stage, operator: NotIn, values: [test]}
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "example.com/tenant=yes,stage notin (test),kubernetes.io/metadata.name notin (castai-agent,castai-privatelink,kube-node-lease,kube-public,kube-system,team-x)"
	if got := r.NamespaceSelector("team-x").String(); got != want {
		t.Errorf("selector %s, want %s", got, want)
	}
	tenant := map[string]string{"example.com/tenant": "yes"}
	for name, tc := range map[string]struct {
		namespace string
		labels    map[string]string
		want      bool
	}{
		"by name":                        {"castai-agent", nil, true},
		"by label":                       {"tenant-a", tenant, true},
		"another value":                  {"tenant-a", map[string]string{"example.com/tenant": "no"}, false},
		"an excluded stage":              {"tenant-a", map[string]string{"example.com/tenant": "yes", "stage": "test"}, false},
		"no label":                       {"default", nil, false},
		"the cluster's, with the label":  {"kube-system", tenant, false},
		"the webhook's, with the label":  {"castai-privatelink", tenant, false},
		"a copy of the namespace's name": {"default", map[string]string{rewrite.NamespaceNameLabel: "default"}, false},
	} {
		if got := r.Selects(tc.namespace, tc.labels); got != tc.want {
			t.Errorf("%s: selected %v, want %v", name, got, tc.want)
		}
	}
}

// An empty selector adds nothing, in contrast to Kubernetes', which selects all.
func TestAnEmptyNamespaceSelectorSelectsNone(t *testing.T) {
	for _, text := range []string{"", "namespaceSelector: {}\n", "namespaceSelector: {matchLabels: {}, matchExpressions: []}\n"} {
		r, err := rewrite.Load("f.yaml", []byte("registry: "+corpus.Registry+"\n"+text))
		if err != nil || !r.NamespaceSelector("team-x").IsEmpty() || r.Selects("default", map[string]string{"a": "b"}) || !r.Selects("castai-agent", nil) {
			t.Errorf("%q: %v, selector %v", text, err, r.NamespaceSelector())
		}
	}
}

func TestANamespaceSelectorThatCouldSelectTheClustersNamespacesIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"matchExpressions: [{key: stage, operator: NotIn, values: [test]}]":                                             "could select kube-system",
		"matchExpressions: [{key: stage, operator: DoesNotExist}]":                                                      "could select kube-system",
		"matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]":                                      "could select kube-system",
		"matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system]}]":                "could select kube-system",
		"matchLabels: {pod-security.kubernetes.io/enforce: privileged}":                                                 "could select kube-system",
		"matchExpressions: [{key: node.k8s.io/x, operator: Exists}]":                                                    "could select kube-system",
		"matchLabels: {kubernetes.io/metadata.name: kube-system}":                                                       "list the names in namespaces",
		"matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [a]}, {key: b, operator: Exists}]": "list the names in namespaces",
		"matchLabels: {'a b': c}": "is not the key of a label",
		"matchLabels: {a: 'b c'}": "is not the value of a label",
		"matchLabels: {a: 1}":     "namespaceSelector.matchLabels.a: want text",
		"matchExpressions: [{key: a, operator: Equals, values: [b]}]": "use In, NotIn, Exists or DoesNotExist",
		"matchExpressions: [{key: a, operator: In}]":                  "list at least one value",
		"matchExpressions: [{key: a, operator: Exists, values: [b]}]": "takes no values",
		"matchExpression: []": "did you mean matchExpressions?",
		"matchExpressions: [{key: a, operater: In, values: [b]}]":                "unknown key",
		"matchExpressions: [{key: a, operator: In, values: ['*']}]":              "namespaceSelector.matchExpressions[0].values[0]",
		"matchLabels: {" + strings.Repeat("a", 64) + ": b}":                      "is not the key of a label",
		"matchLabels: {a: b}, matchExpressions: [{key: a.io/b/c, operator: In}]": "is not the key of a label",
	} {
		_, err := rewrite.Load("f.yaml", []byte("registry: "+corpus.Registry+"\nnamespaceSelector: {"+text+"}\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

// FuzzLabelSelector compares the selector with the one of Kubernetes.
func FuzzLabelSelector(f *testing.F) {
	for _, operator := range []string{"In", "NotIn", "Exists", "DoesNotExist"} {
		f.Add("a", "b", "c", operator, "d", "c", "d")
		f.Add("a", "b", "a", operator, "b", "a", "b")
		f.Add("a", "b", "c", operator, "d", "c", "another")
	}
	f.Fuzz(func(t *testing.T, key, value, key2, operator, value2, labelKey, labelValue string) {
		ours := rewrite.LabelSelector{MatchLabels: map[string]string{key: value}, MatchExpressions: []rewrite.LabelRequirement{{Key: key2, Operator: operator}}}
		theirs := metav1.LabelSelector{MatchLabels: ours.MatchLabels, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key2, Operator: metav1.LabelSelectorOperator(operator)}}}
		if operator == "In" || operator == "NotIn" {
			ours.MatchExpressions[0].Values, theirs.MatchExpressions[0].Values = []string{value2}, []string{value2}
		}
		_, err := rewrite.New(rewrite.Config{Registry: corpus.Registry, NamespaceSelector: ours})
		selector, errTheirs := metav1.LabelSelectorAsSelector(&theirs)
		if errTheirs != nil {
			if err == nil {
				t.Fatalf("%+v is accepted, but not by Kubernetes: %v", ours, errTheirs)
			}
			return
		}
		if err != nil {
			return // refused for what it could select
		}
		for _, set := range []map[string]string{{}, {labelKey: labelValue}, {key: value, labelKey: labelValue}} {
			if got, want := ours.Matches(set), selector.Matches(labels.Set(set)); got != want {
				t.Errorf("%+v matches %v: %v, want %v", ours, set, got, want)
			}
		}
		parsed, err := labels.Parse(ours.String())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(selector.String(), parsed.String()); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}
