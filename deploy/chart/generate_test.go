// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// sources are the files of the tree with whole objects, and the templates that have
// these objects.
func sources() [][2]string {
	return [][2]string{
		{"base/rbac.yaml", "rbac.yaml"},
		{"base/account-policy.yaml", "account-policy.yaml"},
		{"base/ca-secret.yaml", "ca-secret.yaml"},
		{"base/config.yaml", "config.yaml"},
		{"base/disruption.yaml", "disruption.yaml"},
		{"base/network-policy.yaml", "network-policy.yaml"},
		{"base/webhook-configuration.yaml", inOrder},
		{"base/deployment.yaml", inOrder},
		{"base/service.yaml", inOrder},
		{"components/cert-manager/certificates.yaml", "certificates.yaml"},
		{"guard/guard.yaml", "guard.yaml"},
		{"components/namespace-selector/guard-binding.yaml", "guard.yaml"},
		{"components/monitoring/podmonitor.yaml", "monitoring.yaml"},
		{"components/monitoring/rules.yaml", "monitoring.yaml"},
		{"components/monitoring/dashboard.yaml", "dashboard.yaml"},
		{"policy/policy.yaml", "policy.yaml"},
		{"components/namespace-selector-policy/binding.yaml", "policy.yaml"},
	}
}

// inOrder is the template whose objects are one List, which Helm deletes in this order.
//
// Helm 3 deletes kinds that it does not know last, webhook configurations among them:
// the Service and the pods would be gone while API servers still call the webhook, and
// refuse pods. Helm 4 deletes the Service right after the configuration, before all API
// servers know. Helm does not know the kind List either, and keeps the order of its items.
const inOrder = "webhook.yaml"

// A template is a file of the chart.
type template struct {
	file    string
	from    []string
	objects []templateObject
}

type templateObject struct {
	value any
	like  *yamlv3.Node
}

// generated returns the templates, and the defaults that stand in the tree.
func generated(t *testing.T) ([]template, map[string]any) {
	t.Helper()
	h := &holes{defaults: map[string]any{}}
	rendered := map[objectKey][]cell{}
	all := variants()
	for i, v := range all {
		objects := v.render(t, h)
		for key, object := range objects {
			for len(rendered[key]) < i { // variants before that lack it
				rendered[key] = append(rendered[key], cell{all[len(rendered[key])], absent{}})
			}
			rendered[key] = append(rendered[key], cell{v, object})
		}
	}
	var templates []template
	for _, s := range sources() {
		i := slices.IndexFunc(templates, func(x template) bool { return x.file == s[1] })
		if i < 0 {
			i = len(templates)
			templates = append(templates, template{file: s[1]})
		}
		templates[i].from = append(templates[i].from, "deploy/"+s[0])
		for _, n := range documents(t, "../"+s[0]) {
			key := keyOfNode(n)
			cells, ok := rendered[key]
			if !ok {
				t.Fatalf("%s: %v is in no variant", s[0], key)
			}
			for len(cells) < len(all) {
				cells = append(cells, cell{all[len(cells)], absent{}})
			}
			templates[i].objects = append(templates[i].objects, templateObject{key.conditional(merged(cells)), n})
			delete(rendered, key)
		}
	}
	for key := range rendered {
		t.Errorf("%v is in no file of sources", key)
	}
	for i := range templates {
		if templates[i].file == inOrder {
			templates[i].objects = []templateObject{list(t, templates[i].objects)}
		}
	}
	return templates, h.defaults
}

// conditional adds the conditions of values that leave out a whole object or a member.
func (k objectKey) conditional(value any) any {
	switch k.kind {
	case "PodDisruptionBudget":
		return innermost(value, func(v any) any { return choice{".Values.podDisruptionBudget.enabled", v, absent{}} })
	case "NetworkPolicy":
		return innermost(value, func(v any) any { return choice{".Values.networkPolicy.enabled", v, absent{}} })
	case "ConfigMap":
		if k.name == deploy.DashboardName {
			return innermost(value, func(v any) any { return choice{".Values.monitoring.dashboard", v, absent{}} })
		}
	case "PodMonitor":
		return innermost(value, func(v any) any { return choice{".Values.monitoring.podMonitor", v, absent{}} })
	case "PrometheusRule":
		return innermost(value, func(v any) any { return choice{".Values.monitoring.prometheusRule", v, absent{}} })
	case "Deployment":
		return innermost(value, func(v any) any {
			template := v.(map[string]any)["spec"].(map[string]any)["template"].(map[string]any)
			annotations := template["metadata"].(map[string]any)["annotations"].(map[string]any)
			for _, key := range []string{"prometheus.io/scrape", "prometheus.io/port"} {
				annotations[key] = choice{".Values.monitoring.scrapeAnnotations", annotations[key], absent{}}
			}
			return v
		})
	}
	return value
}

// list returns a List of objects that have the same condition.
func list(t *testing.T, objects []templateObject) templateObject {
	t.Helper()
	scalar := func(value string) *yamlv3.Node { return &yamlv3.Node{Kind: yamlv3.ScalarNode, Value: value} }
	condition := objects[0].value.(choice).condition
	nodes, items := &yamlv3.Node{Kind: yamlv3.SequenceNode}, []any{}
	for _, o := range objects {
		c, ok := o.value.(choice)
		if !ok || c.condition != condition || c.otherwise != any(absent{}) {
			t.Fatalf("an object of the list has another condition than %s", condition)
		}
		nodes.Content, items = append(nodes.Content, o.like), append(items, c.then)
	}
	return templateObject{
		choice{condition, map[string]any{
			"apiVersion": "v1", "kind": "List",
			"metadata": map[string]any{"name": Name}, // for helm lint
			"items":    items,
		}, absent{}},
		&yamlv3.Node{Kind: yamlv3.MappingNode, Content: []*yamlv3.Node{
			scalar("apiVersion"), scalar("v1"), scalar("kind"), scalar("List"), scalar("metadata"), scalar(""), scalar("items"), nodes,
		}},
	}
}

// innermost changes the object that stands below conditions.
func innermost(value any, change func(any) any) any {
	if c, ok := value.(choice); ok {
		c.then = innermost(c.then, change)
		return c
	}
	return change(value)
}

func documents(t *testing.T, file string) (all []*yamlv3.Node) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := yamlv3.NewDecoder(bytes.NewReader(text))
	for {
		var n yamlv3.Node
		if err := d.Decode(&n); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		object := n.Content[0]
		if n.HeadComment != "" {
			object.Content[0].HeadComment = strings.TrimPrefix(n.HeadComment+"\n"+object.Content[0].HeadComment, "\n")
		}
		if object.HeadComment != "" {
			object.Content[0].HeadComment = object.HeadComment
		}
		all = append(all, object)
	}
}

func keyOfNode(n *yamlv3.Node) objectKey {
	_, kind := member(n, "kind")
	_, metadata := member(n, "metadata")
	_, name := member(metadata, "name")
	return objectKey{kind.Value, name.Value}
}

func (x template) text() string {
	var body emitter
	var entries []entry
	for _, o := range x.objects {
		entries = append(entries, entry{o.value, func(v any) {
			body.line(0, "---")
			body.object(0, v.(map[string]any), o.like)
		}})
	}
	body.sequence(0, entries)
	out := "{{- /* Generated from " + strings.Join(x.from, " and ") + ". */ -}}\n{{- include \"privatelink.values\" . -}}\n"
	text := strings.Join(body.lines, "\n") + "\n"
	if strings.Contains(text, "$data.") {
		out += "{{- $data := include \"privatelink.data\" . | fromJson -}}\n"
	}
	return out + text
}

// TestTheTemplatesAreGeneratedFromTheTree renders the tree in all its variants, and
// compares the templates with what the variants make together.
func TestTheTemplatesAreGeneratedFromTheTree(t *testing.T) {
	templates, fromTree := generated(t)
	files := map[string]bool{"_helpers.tpl": true, "_defaults.tpl": true, "NOTES.txt": true}
	for _, x := range templates {
		text := x.text()
		for _, placeholder := range []string{"any-", "ANY_", "castai-privatelink/", "0xc000"} {
			for line := range strings.Lines(text) {
				if strings.Contains(line, placeholder) {
					t.Errorf("%s: a value of the generator is left: %s", x.file, line)
				}
			}
		}
		files[x.file] = true
		golden.Compare(t, filepath.Join(Name, "templates", x.file), []byte(text))
	}
	entries, err := os.ReadDir(filepath.Join(Name, "templates"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !files[e.Name()] {
			t.Errorf("templates/%s is in no file of the tree", e.Name())
		}
	}
	documented := documentation(t, fromTree)
	golden.Compare(t, filepath.Join(Name, "values.yaml"), documented.valuesFile(t))
	golden.Compare(t, filepath.Join(Name, "templates", "_defaults.tpl"), documented.helper(t))
	golden.Compare(t, filepath.Join(Name, "README.md"), []byte(readme+"\n"+documented.table()))
	golden.Compare(t, "../../docs/reference/chart.md", []byte(page+"\n"+documented.table()))
}

// A value is documented by its description in values.schema.json. Its default stands
// there, or in the tree.
type documentedValue struct {
	name, description string
	value             any
	section           []documentedValue
}

type documentedValues []documentedValue

func documentation(t *testing.T, fromTree map[string]any) documentedValues {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: anyRegistry})
	if err != nil {
		t.Fatal(err)
	}
	fromTree["namespaces"], fromTree["envVars"] = rules.Namespaces(), rules.EnvVars()
	schema := documents(t, Name+"/values.schema.json")[0]
	_, properties := member(schema, "properties")
	return documented(t, "", properties, fromTree)
}

func documented(t *testing.T, prefix string, properties *yamlv3.Node, fromTree map[string]any) (all documentedValues) {
	t.Helper()
	for i := 0; i < len(properties.Content); i += 2 {
		name, of := properties.Content[i].Value, properties.Content[i+1]
		if prefix == "" && (name == "global" || name == "enabled") {
			continue
		}
		d := documentedValue{name: name}
		if _, n := member(of, "description"); n != nil {
			d.description = n.Value
		} else {
			t.Errorf("values.schema.json: %s%s has no description", prefix, name)
		}
		_, inSchema := member(of, "default")
		inTree, ok := fromTree[prefix+name]
		switch {
		case slices.Contains(sections(), name):
			_, inner := member(of, "properties")
			d.section = documented(t, name+".", inner, fromTree)
		case ok == (inSchema != nil):
			t.Errorf("values.schema.json: %s%s: the default must stand there or in the tree", prefix, name)
		case ok:
			d.value = inTree
		default:
			if err := inSchema.Decode(&d.value); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, d)
	}
	return all
}

func (all documentedValues) valuesFile(t *testing.T) []byte {
	out := "# Generated from values.schema.json and the kustomize tree. Every value is described in\n# README.md.\n" + all.yaml(t, "", true)
	return []byte(out)
}

func (all documentedValues) yaml(t *testing.T, indent string, comments bool) string {
	t.Helper()
	var out strings.Builder
	for _, d := range all {
		if comments {
			if indent == "" {
				out.WriteString("\n")
			}
			for _, line := range wrap(d.description, 86-len(indent)) {
				out.WriteString(indent + "# " + line + "\n")
			}
		}
		if len(d.section) > 0 {
			out.WriteString(indent + d.name + ":\n" + documentedValues(d.section).yaml(t, indent+"  ", comments))
			continue
		}
		text, err := yaml.Marshal(map[string]any{d.name: d.value})
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			out.WriteString(indent + line)
		}
	}
	return out.String()
}

func (all documentedValues) helper(t *testing.T) []byte {
	return []byte("{{/*\nGenerated: the content of values.yaml, for releases whose values are older.\n*/}}\n{{- define \"privatelink.defaults\" -}}\n" +
		escape(all.yaml(t, "", false)) + "{{- end -}}\n")
}

func (all documentedValues) table() string {
	var out strings.Builder
	out.WriteString("| value | default | description |\n|---|---|---|\n")
	var rows func(prefix string, of []documentedValue)
	rows = func(prefix string, of []documentedValue) {
		for _, d := range of {
			if len(d.section) > 0 {
				rows(prefix+d.name+".", d.section)
				continue
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", prefix+d.name, shown(d.value), strings.ReplaceAll(d.description, "|", "\\|"))
		}
	}
	rows("", all)
	return out.String()
}

// shown is a default as it stands in a table: not lists of objects, which are long.
func shown(value any) string {
	text := strings.TrimSpace(scalar(value))
	if len(text) > 60 {
		return "see `values.yaml`"
	}
	return "`" + text + "`"
}

func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
