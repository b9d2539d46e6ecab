// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/cel"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Values of which every occurrence in the rendered tree becomes an action of the
// template.
const (
	anyNamespace = "any-namespace"
	anyRegistry  = "any-registry.invalid"
)

func anyConfig() rewrite.Config {
	return rewrite.Config{
		Registry:   anyRegistry,
		Namespaces: []string{"any-listed"},
		EnvVars:    []string{"ANY_VARIABLE"},
		Rules:      []rewrite.Rule{{Source: "any-source.invalid/a/b", Target: "any-target/c"}},
		Keep:       []string{},
	}
}

// anySelector selects namespaces by label.
func anySelector() rewrite.LabelSelector {
	return rewrite.LabelSelector{MatchLabels: map[string]string{"any-label": "any-value"}}
}

// A variant is a combination of the values that change the structure of the bundle,
// by the names of dimensions.
type variant map[string]string

// A dimension is a value that changes the structure, and the condition of a template
// for each of its choices.
type dimension struct {
	name       string
	conditions []choiceCondition
}

type choiceCondition struct{ choice, condition string }

func dimensions() []dimension {
	enabled := func(name, value string) dimension {
		return dimension{name, []choiceCondition{{"yes", value}, {"no", "not " + value}}}
	}
	return []dimension{
		{"engine", []choiceCondition{{"webhook", `eq .Values.engine "webhook"`}, {"policy", `eq .Values.engine "policy"`}}},
		enabled("certManager", ".Values.certManager.enabled"),
		enabled("hostNetwork", ".Values.hostNetwork"),
		enabled("byLabel", ".Values.namespaceSelector"),
		{"guard", []choiceCondition{{"deny", `eq .Values.guard "deny"`}, {"warn", `eq .Values.guard "warn"`}, {"off", `eq .Values.guard "off"`}}},
	}
}

// condition is that of some, but not all, choices of the dimension.
func (d dimension) condition(choices []string) string {
	for _, c := range d.conditions {
		if len(choices) == 1 && c.choice == choices[0] {
			return c.condition
		}
	}
	for _, c := range d.conditions {
		if len(choices) == len(d.conditions)-1 && !slices.Contains(choices, c.choice) {
			return strings.Replace(c.condition, "eq ", "ne ", 1)
		}
	}
	panic(fmt.Sprintf("no condition for %s %v", d.name, choices))
}

// variants returns all combinations.
func variants() []variant {
	all := []variant{{}}
	for _, d := range dimensions() {
		var more []variant
		for _, v := range all {
			for _, c := range d.conditions {
				with := maps.Clone(v)
				with[d.name] = c.choice
				more = append(more, with)
			}
		}
		all = more
	}
	return all
}

// options are those that render the variant. The engine policy has no pods, so that
// what concerns these has no effect.
func (v variant) options(t *testing.T) deploy.Options {
	t.Helper()
	config := anyConfig()
	if v["byLabel"] == "yes" {
		config.NamespaceSelector = anySelector()
	}
	rules, err := rewrite.New(config)
	if err != nil {
		t.Fatal(err)
	}
	o := deploy.Options{Rules: rules, Config: []byte("any configuration"), Engine: deploy.Engine(v["engine"]), Guard: deploy.Guard(v["guard"])}
	if o.Engine == deploy.Policy {
		return o
	}
	o.Namespace = anyNamespace
	o.Overlays = []string{deploy.Monitoring} // its objects are left out by conditions
	if v["certManager"] == "yes" {
		o.Overlays = append(o.Overlays, "cert-manager")
	}
	if v["hostNetwork"] == "yes" {
		o.Overlays = append(o.Overlays, "host-network")
	}
	return o
}

// objectKey names an object of the bundle.
type objectKey struct{ kind, name string }

func keyOf(object map[string]any) objectKey {
	name, _ := object["metadata"].(map[string]any)["name"].(string)
	return objectKey{object["kind"].(string), name}
}

// render returns the objects of the variant with actions in place of values.
func (v variant) render(t *testing.T, h *holes) map[objectKey]map[string]any {
	t.Helper()
	o := v.options(t)
	text, err := deploy.Render(o)
	if err != nil {
		t.Fatal(err)
	}
	all := map[objectKey]map[string]any{}
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var object map[string]any
		if err := yaml.Unmarshal(document, &object); err != nil {
			t.Fatal(err)
		}
		key := keyOf(object)
		if key.kind == "Namespace" {
			continue // helm install --create-namespace makes it
		}
		all[key] = h.apply(t, o.Rules, key, object)
	}
	return all
}

// An action stands in place of a value of the tree. Equal actions are equal values
// when variants are merged.
type action struct {
	inline string // text of a scalar, with actions, as it stands in YAML
	block  string // text of a literal block, with actions
	nested string // an action whose output is indented below the key
	with   string // a value that is left out if it is empty, in YAML below the key
	merged string // a value whose members are added to those of the object
}

// holes replace values of the tree, and keep what they replaced as defaults.
type holes struct {
	defaults map[string]any
}

func (h *holes) apply(t *testing.T, rules *rewrite.Rules, key objectKey, object map[string]any) map[string]any {
	t.Helper()
	metadata := object["metadata"].(map[string]any)
	labels, ok := metadata["labels"].(map[string]any)
	if !ok {
		t.Fatalf("%v has no labels", key)
	}
	labels["commonLabels"] = action{merged: ".Values.commonLabels"}
	switch key.kind {
	case "ConfigMap":
		if key.name == deploy.Name {
			object["data"] = map[string]any{deploy.ConfigKey: action{nested: `|-` + "\n" + `include "privatelink.config" .`}}
		}
	case "PodDisruptionBudget":
		h.replace(object["spec"], "maxUnavailable", "podDisruptionBudget.maxUnavailable", action{inline: "{{ toJson .Values.podDisruptionBudget.maxUnavailable }}"})
	case "PodMonitor", "PrometheusRule":
		labels["monitoring.labels"] = action{merged: ".Values.monitoring.labels"}
	case "MutatingWebhookConfiguration":
		for _, w := range object["webhooks"].([]any) {
			w.(map[string]any)["failurePolicy"] = failurePolicy(w)
		}
	case "MutatingAdmissionPolicy":
		spec := object["spec"].(map[string]any)
		spec["failurePolicy"] = failurePolicy(spec)
	case "Deployment":
		h.deployment(object["spec"].(map[string]any))
	}
	return substitute(rules, object).(map[string]any)
}

// failurePolicy is the value, or else what the bundle has.
func failurePolicy(of any) action {
	return action{inline: fmt.Sprintf("{{ .Values.failurePolicy | default %q }}", of.(map[string]any)["failurePolicy"])}
}

func (h *holes) deployment(spec map[string]any) {
	h.replace(spec, "replicas", "replicas", action{inline: "{{ .Values.replicas }}"})
	template := spec["template"].(map[string]any)
	metadata, pod := template["metadata"].(map[string]any), template["spec"].(map[string]any)
	labels := metadata["labels"].(map[string]any)
	labels["commonLabels"] = action{merged: ".Values.commonLabels"}
	labels["podLabels"] = action{merged: ".Values.podLabels"}
	metadata["annotations"].(map[string]any)["podAnnotations"] = action{merged: ".Values.podAnnotations"}
	for _, name := range []string{"tolerations", "topologySpreadConstraints", "priorityClassName", "imagePullSecrets", "nodeSelector", "affinity"} {
		h.replace(pod, name, name, action{with: ".Values." + name})
	}
	container := pod["containers"].([]any)[0].(map[string]any)
	container["image"] = action{inline: `{{ include "privatelink.image" . | quote }}`}
	h.replace(container, "imagePullPolicy", "image.pullPolicy", action{inline: "{{ .Values.image.pullPolicy }}"})
	h.replace(container, "resources", "resources", action{with: ".Values.resources"})
}

// replace replaces a member, whose value is the default of a value of the chart.
func (h *holes) replace(object any, member, value string, by action) {
	of := object.(map[string]any)
	if old, ok := of[member]; ok {
		h.defaults[value] = old
	}
	of[member] = by
}

// substitute replaces the values that are recognized wherever they stand.
func substitute(rules *rewrite.Rules, value any) any {
	switch of := value.(type) {
	case map[string]any:
		if isLabelSelector(of) {
			return action{nested: `include "privatelink.namespaceSelector" .`}
		}
		data := data(rules)
		name, _ := of["name"].(string)
		if literal, ok := data[name]; ok && of["expression"] == literal {
			of["expression"] = action{block: "{{ $data." + name + " }}"}
		}
		for key, v := range of {
			of[key] = substitute(rules, v)
		}
		return of
	case []any:
		if reflect.DeepEqual(of, []any{"any-listed"}) {
			return action{inline: "{{ toJson .Values.namespaces }}"}
		}
		for i, v := range of {
			of[i] = substitute(rules, v)
		}
		return of
	case string:
		return substituteText(rules, of)
	}
	return value
}

func isLabelSelector(of map[string]any) bool {
	return reflect.DeepEqual(of["matchLabels"], map[string]any{"any-label": "any-value"})
}

func data(rules *rewrite.Rules) map[string]string {
	all := map[string]string{}
	for _, v := range cel.Data(rules) {
		all[v.Name] = v.Expression
	}
	return all
}

func substituteText(rules *rewrite.Rules, text string) any {
	out := escape(text)
	for name, literal := range data(rules) {
		out = strings.ReplaceAll(out, "["+literal+"].exists("+name+",", "[{{ $data."+name+" }}].exists("+name+",")
	}
	out = strings.ReplaceAll(out, `namespace=~"any-listed"`, `namespace=~"{{ join "|" .Values.namespaces }}"`)
	out = strings.ReplaceAll(out, anyNamespace, "{{ .Release.Namespace }}")
	switch {
	case out == text:
		return text
	case strings.Contains(text, "\n"):
		return action{block: out}
	case text == anyNamespace:
		return action{inline: "{{ .Release.Namespace | quote }}"} // a namespace may be named 123
	case escape(text) == out:
		return action{block: out} // a literal block needs no quotes within actions
	}
	return action{inline: out}
}

// escape makes constant text of what would begin an action, such as in an alert.
func escape(text string) string { return strings.ReplaceAll(text, "{{", `{{ "{{" }}`) }
