// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/deploy"
)

// combinations is how many files of values TestTheChartEqualsTheBundle generates.
const combinations = 200

// choices are what a generated file of values may have, by key. null is the default.
func choices() map[string][]string {
	return map[string][]string{
		"registry":          {registry, "registry.example.com:5000", "a.b/c"},
		"namespaces":        {"[castai-agent, castai-omni]", `["1"]`, "null"},
		"namespaceSelector": {"{matchLabels: {example.com/team: a, b: \"true\"}}", "{matchExpressions: [{key: a, operator: Exists}, {key: b, operator: In, values: [\"1\", x]}]}", "{}"},
		"rules": {
			"[{source: quay.io/acme, target: thirdparty/acme}]",
			"[{source: docker.io, target: hub}, {source: ghcr.io/castai/images/a/b, target: a/b/c/d/e}, {source: us-east4-docker.pkg.dev/castai-hub/library, target: vendor}]",
			"[{source: ghcr.io/castai/images/x.y/z, target: odd}, {source: us-docker.pkg.dev/castai-hub/library/localhost/z, target: odd2}, {source: ghcr.io/castai/images/p_1/z, target: odd3}]",
		},
		"keep":                      {"[registry.k8s.io]", "[k8s.gcr.io, quay.io/acme/kept, ghcr.io/castai/images/kept, 'registry.example.org:5000/a']"},
		"envVars":                   {"[]", "[RELATED_IMAGE]"},
		"repositories":              {"{scanOnPush: false, tags: {team: \"<a> & b\", owner: \"{{ .x }}\"}}", "{tagMutability: IMMUTABLE}"},
		"track":                     {"{charts: [castai-agent], newest: 5, values: {castai-agent: {a: {b: [1, \"<&>\"]}}}}", "{repository: 'https://charts.example.com/x', prereleases: true}"},
		"engine":                    {"webhook", "policy"},
		"guard":                     {"warn", "deny", "\"off\""},
		"failurePolicy":             {"Fail", "Ignore", "\"\""},
		"replicas":                  {"1", "3", "100"},
		"image":                     {"{tag: \"20261128\"}", "{repository: example.com/w, digest: \"" + anyDigest + "\"}", "{tag: v1, digest: \"" + anyDigest + "\", pullPolicy: Always}", "{repository: example.com/w}", "null"},
		"imagePullSecrets":          {"[{name: a}, {name: b}]"},
		"resources":                 {"{limits: {memory: 1Gi}}", "{limits: null}", "{limits: {memory: null}, requests: {cpu: 1, memory: 100000000}}", "{requests: null, limits: null}"},
		"nodeSelector":              {"{a/b: \"true\"}", "{kubernetes.io/os: null}", "{kubernetes.io/os: null, a: b}", "null"},
		"tolerations":               {"[]", "[{operator: Exists, effect: NoExecute, tolerationSeconds: 31536000}]", "null"},
		"affinity":                  {"{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [\"1\"]}]}]}}}"},
		"topologySpreadConstraints": {"[]", "[{topologyKey: kubernetes.io/hostname, maxSkew: 2, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}]"},
		"priorityClassName":         {"\"\"", "own", "\"1\""},
		"podLabels":                 {"{team: \"1\", a: \"\"}"},
		"podAnnotations":            {"{example.com/a: \"{{ $labels.x }}\", b: \"null\"}"},
		"commonLabels":              {"{cost-center: \"0123\", owner: \"\"}"},
		"podDisruptionBudget":       {"{enabled: false}", "{maxUnavailable: 50%}", "{maxUnavailable: 2}"},
		"networkPolicy":             {"{enabled: false}", "null"},
		"hostNetwork":               {"true"},
		"certManager":               {"{enabled: true}"},
		"monitoring":                {"{scrapeAnnotations: false}", "{podMonitor: true, prometheusRule: true, dashboard: true, labels: {release: \"1\"}}", "{prometheusRule: true}", "{dashboard: true}", "{podMonitor: true, labels: {a: b}}"},
	}
}

const anyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// generate returns a file of values: with each key as likely as not.
func generate(random *rand.Rand) string {
	of := choices()
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(of)) {
		if key == "registry" || random.IntN(2) == 0 {
			text.WriteString(key + ": " + of[key][random.IntN(len(of[key]))] + "\n")
		}
	}
	return text.String()
}

// TestTheChartEqualsTheBundle renders generated values by Helm and by kustomize, in
// several namespaces, and compares all objects but the namespace, which is no part of
// the chart. Each choice of each key must be among the values.
func TestTheChartEqualsTheBundle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	texts := []string{"registry: " + registry + "\n"}
	for range combinations {
		texts = append(texts, generate(random))
	}
	for key, of := range choices() {
		for _, value := range of {
			if line := key + ": " + value + "\n"; !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains("\n"+s, "\n"+line) }) {
				t.Errorf("no file of values has %s", line)
			}
		}
	}
	namespaces := []string{"castai-privatelink", "team-x", "123"}
	for i, text := range texts {
		namespace := namespaces[i%len(namespaces)]
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			chart := helmObjects(t, load(t), parse(t, text), release{namespace: namespace})
			for _, object := range chart {
				decode(t, object)
			}
			if diff := cmp.Diff(bundle(t, text, namespace), chart); diff != "" {
				t.Errorf("%s\n-bundle +chart\n%s", text, diff)
			}
		})
	}
}

func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return values
}

// bundle returns the objects that privatelink install prints, without the namespace.
func bundle(t testing.TB, values, namespace string) map[string]map[string]any {
	t.Helper()
	o, err := Options("values.yaml", []byte(values))
	if err != nil {
		t.Fatalf("%v\n%s", err, values)
	}
	if o.Engine == deploy.Webhook {
		o.Namespace = namespace
	}
	text, err := deploy.Render(o)
	if err != nil {
		t.Fatalf("%v\n%s", err, values)
	}
	all := map[string]map[string]any{}
	collect(t, all, "the bundle", string(text))
	maps.DeleteFunc(all, func(_ string, object map[string]any) bool { return object["kind"] == "Namespace" })
	return all
}

// The registry alone makes the same objects by a flag as by a file of values.
func TestTheDefaultsAreThoseOfTheBundle(t *testing.T) {
	values := "registry: " + registry + "\n"
	o, err := Options("values.yaml", []byte(values))
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range deploy.Engines() {
		text, err := deploy.Render(deploy.Options{Rules: o.Rules, Engine: engine})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]map[string]any{}
		collect(t, all, "the bundle", string(text))
		maps.DeleteFunc(all, func(_ string, object map[string]any) bool { return object["kind"] == "Namespace" })
		if diff := cmp.Diff(all, bundle(t, values+"engine: "+string(engine)+"\n", "")); diff != "" {
			t.Errorf("%s: -flag +values\n%s", engine, diff)
		}
	}
}
