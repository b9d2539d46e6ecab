// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func TestLoadServedIgnoresKeysOfNewerVersions(t *testing.T) {
	const registry = "registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai\n"
	for name, tc := range map[string]struct {
		text    string
		ignored []string
		refused string
	}{
		"the oldest configuration":           {registry, nil, ""},
		"a new setting":                      {registry + "signatures: {verify: true}\n", []string{"f.yaml:2: signatures: unknown key: update the webhook to the version that has it"}, ""},
		"two new settings":                   {registry + "a-setting: 1\nanotherOne: [x]\n", []string{"f.yaml:2: a-setting: unknown key: update the webhook to the version that has it", "f.yaml:3: anotherOne: unknown key: update the webhook to the version that has it"}, ""},
		"a new setting of repositories":      {registry + "repositories: {replication: true}\n", []string{"f.yaml:2: repositories.replication: unknown key: update the webhook to the version that has it"}, ""},
		"a new key in a rule":                {registry + "rules:\n- source: quay.io/acme\n  target: p\n  onlyDigests: true\n", nil, "f.yaml:5: rules[0].onlyDigests: unknown key: the keys here are source, target"},
		"a typing error":                     {registry + "keeps: []\n", nil, "f.yaml:2: keeps: unknown key: did you mean keep?"},
		"two letters more":                   {registry + "keepit: []\n", nil, "f.yaml:2: keepit: unknown key: did you mean keep?"},
		"two letters less":                   {registry + "envVa: []\n", nil, "f.yaml:2: envVa: unknown key: did you mean envVars?"},
		"three letters more":                 {registry + "keeping: []\n", []string{"f.yaml:2: keeping: unknown key: update the webhook to the version that has it"}, ""},
		"another case":                       {registry + "envvars: []\n", nil, "f.yaml:2: envvars: unknown key: did you mean envVars?"},
		"two letters swapped":                {registry + "rulse: []\n", nil, "f.yaml:2: rulse: unknown key: the keys here are apiVersion, envVars, keep, kind, namespaceSelector, namespaces, registry, repositories, rules, track"},
		"a new version of the API":           {"apiVersion: privatelink.cast.ai/v1beta1\n" + registry, nil, "f.yaml:1: apiVersion: want \"privatelink.cast.ai/v1alpha1\", have \"privatelink.cast.ai/v1beta1\": write apiVersion: privatelink.cast.ai/v1alpha1, or leave it out"},
		"a new setting and an invalid value": {registry + "aSetting: 1\nkeep: 5\n", []string{"f.yaml:2: aSetting: unknown key: update the webhook to the version that has it"}, "f.yaml:3: keep: want a list, have 5 (int): write keep: [...]"},
	} {
		t.Run(name, func(t *testing.T) {
			rules, ignored, err := rewrite.LoadServed("f.yaml", []byte(tc.text))
			var got []string
			for _, key := range ignored {
				got = append(got, key.Error())
			}
			if d := cmp.Diff(tc.ignored, got); d != "" {
				t.Errorf("ignored (-want +got):\n%s", d)
			}
			refused := ""
			if err != nil {
				refused = err.Error()
			}
			if d := cmp.Diff(tc.refused, refused); d != "" {
				t.Errorf("error (-want +got):\n%s", d)
			}
			if (rules == nil) != (err != nil) {
				t.Errorf("rules %v and error %v", rules, err)
			}
			if _, err := rewrite.Load("f.yaml", []byte(tc.text)); (err == nil) != (len(tc.ignored) == 0 && tc.refused == "") {
				t.Errorf("Load is not strict: %v", err)
			}
		})
	}
}

// What a server reads without complaint, the command line reads alike.
func FuzzLoadServed(f *testing.F) {
	const registry = "registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai\n"
	f.Add([]byte(registry))
	f.Add([]byte(registry + "aSetting: 1\nrules: [{source: quay.io, target: p, onlyDigests: true}]\n"))
	f.Add([]byte(registry + "repositories: {x: y}\nkeep: [docker.io]\nkeep: 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		strict, strictErr := rewrite.Load("f", data)
		served, ignored, err := rewrite.LoadServed("f", data)
		switch {
		case err != nil && strictErr == nil:
			t.Errorf("the server refuses what the command line reads: %v", err)
		case err == nil && (strictErr == nil) != (len(ignored) == 0):
			t.Errorf("%d keys ignored, and Load returns %v", len(ignored), strictErr)
		case err == nil && strictErr == nil && !cmp.Equal(strict.Config(), served.Config()):
			t.Error("the rules differ")
		}
	})
}
