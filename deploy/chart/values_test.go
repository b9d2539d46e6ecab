// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func configs() map[string]string {
	return map[string]string{
		"registry": "registry: " + registry,
		"lists":    "registry: " + registry + "\nnamespaces: [a, b]\nkeep: [registry.k8s.io]\nenvVars: []\n",
		"rules":    "registry: " + registry + "\nrules:\n- {source: quay.io/acme, target: acme}\n- {target: b, source: docker.io}\n",
		"selector": "registry: " + registry + "\nnamespaceSelector:\n  matchLabels: {a: \"1\", b: \"\"}\n  matchExpressions: [{key: c, operator: NotIn, values: [d]}]\n",
		"mirror":   "registry: " + registry + "\nrepositories:\n  scanOnPush: true\n  tags: {a: \"<&>\"}\n  excludedTags: [\"v*\"]\n",
	}
}

// A configuration becomes values, and these the same configuration. Different
// configurations become different values, and a second conversion changes nothing.
func TestConfigurationsAndValuesConvert(t *testing.T) {
	seen := map[string]string{}
	for name, text := range configs() {
		rules, err := rewrite.Load(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		values, err := FromRules(rules)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[string(values)]; ok {
			t.Errorf("%s and %s have the same values", name, other)
		}
		seen[string(values)] = name
		config, err := Config("values.yaml", values)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, values)
		}
		back, err := rewrite.Load("back", config)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, config)
		}
		want, have := rules.Config(), back.Config()
		if want.Rules == nil {
			want.Rules = []rewrite.Rule{}
		}
		if want.Keep == nil {
			want.Keep = []string{}
		}
		if have.Rules == nil {
			have.Rules = []rewrite.Rule{}
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: -want +have\n%s", name, diff)
		}
		again, err := FromRules(back)
		if err != nil || string(again) != string(values) {
			t.Errorf("%s: converted twice, %v\n%s", name, err, cmp.Diff(string(values), string(again)))
		}
	}
}

func TestConfigIsCheckedAsAWhole(t *testing.T) {
	for want, text := range map[string]string{
		"registry: is missing":      "replicas: 3",
		"overlap":                   "registry: " + registry + "\nrules: [{source: a.b, target: c}, {source: d.e, target: c/d}]",
		"same source":               "registry: " + registry + "\nkeep: [ghcr.io/castai/images/x, us-docker.pkg.dev/castai-hub/library/x]",
		"label \"team\"":            "registry: " + registry + "\npodLabels: {team: a}\ncommonLabels: {team: a}",
		"my.yaml: error converting": "registry: a\nregistry: b",
	} {
		o, err := Options("my.yaml", []byte(text))
		if err == nil && o.Pods != nil {
			_, err = deploy.Render(o)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", text, err)
		}
	}
}
