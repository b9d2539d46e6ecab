// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/go-cmp/cmp"
	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func TestDataHasThePrefixesOfRulesAndKeeps(t *testing.T) {
	r, err := rewrite.New(rewrite.Config{
		Registry: "registry.example.com/castai",
		Rules:    []rewrite.Rule{{Source: "quay.io/acme/tools", Target: "tools"}, {Source: "ghcr.io/castai/images/prom", Target: "monitoring/prom"}},
		Keep:     []string{"registry.k8s.io"},
	})
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, v := range Data(r) {
		have[v.Name] = v.Expression
	}
	want := map[string]string{
		"registry": `"registry.example.com/castai"`,
		"envVars":  `["JMX_EXPORTER_INIT_IMAGE","SCANNERS_IMAGE"]`,
		"sources":  `{"quay.io/acme/tools":"tools","registry.k8s.io":"","us-docker.pkg.dev/castai-hub/library/prom":"monitoring/prom"}`,
		"targets":  `{"monitoring/prom":true,"tools":true}`,
		"depths":   `[4,3,2,1]`,
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("-want +have\n%s", d)
	}
}

func TestParseDataIsTheReverseOfData(t *testing.T) {
	for name, config := range map[string]rewrite.Config{
		"a registry": {Registry: "registry.example.com/castai"},
		"all fields": {
			Registry: "registry.example.com:5000/castai", EnvVars: []string{"IMAGE"}, Keep: []string{"registry.k8s.io", "ghcr.io/castai/images/kept"},
			Rules: []rewrite.Rule{{Source: "quay.io/acme/tools", Target: "tools"}, {Source: "ghcr.io/castai/images/prom", Target: "monitoring/prom"}},
		},
		"no variables": {Registry: "registry.example.com/castai", EnvVars: []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := rewrite.New(config)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := ParseData(PolicyVariables(want))
			if err != nil {
				t.Fatal(err)
			}
			have, err := rewrite.New(parsed)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(Data(want), Data(have)); d != "" {
				t.Errorf("-want +have\n%s", d)
			}
		})
	}
	for name, variables := range map[string][]admissionregv1.Variable{
		"none":       nil,
		"expression": {{Name: "registry", Expression: `"a" + "b"`}, {Name: "envVars", Expression: "[]"}, {Name: "sources", Expression: "{}"}},
	} {
		if c, err := ParseData(variables); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// FuzzLiteral evaluates JSON as CEL: a string has the same value in both, as the
// key and as the value of a map, whatever has to be escaped in it.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"", "a", `"\/`, "a\nb\r\t\b\f", "<>&", "\u2028\u2029", "\x00\x1f\x7f", "\U0001f600", "é", "{{ .x }}", "$(x)", "\ufffd", "\\u0041"} {
		f.Add(s)
	}
	env, err := cel.NewEnv()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip("JSON and CEL have Unicode strings only")
		}
		ast, issues := env.Compile(literal(map[string][]string{s: {s}}))
		if issues.Err() != nil {
			t.Fatalf("%q is JSON, but not CEL: %v", s, issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			t.Fatal(err)
		}
		value, _, err := program.Eval(map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		native, err := cel.ValueAsAlphaProto(value)
		if err != nil {
			t.Fatal(err)
		}
		entry := native.GetMapValue().GetEntries()[0]
		if key, item := entry.GetKey().GetStringValue(), entry.GetValue().GetListValue().GetValues()[0].GetStringValue(); key != s || item != s {
			t.Errorf("%q is %q as a key and %q as an item", s, key, item)
		}
	})
}

// What Go's encoder does not write, other JSON encoders may: CEL refuses it, so
// that such data cannot change its meaning.
func TestEscapesThatCELLacksAreRefused(t *testing.T) {
	env, err := cel.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`"a\/b"`, `"\ud83d\ude00"`} {
		var value string
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if _, issues := env.Compile(text); issues.Err() == nil {
			t.Errorf("%s is CEL now", text)
		}
		if _, issues := env.Compile(literal(value)); issues.Err() != nil {
			t.Errorf("%s, encoded by Go: %v", text, issues.Err())
		}
	}
}
