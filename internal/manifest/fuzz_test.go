// SPDX-License-Identifier: Apache-2.0

package manifest

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

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func FuzzRewrite(f *testing.F) {
	inputs, err := filepath.Glob("testdata/*/in.*")
	if err != nil || len(inputs) == 0 {
		f.Fatal("no seeds in testdata", err)
	}
	for _, path := range inputs {
		seed, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	for _, tc := range notations {
		f.Add([]byte(tc.in))
	}
	for _, tc := range anchors {
		f.Add([]byte(tc.in))
	}
	r := rules(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		checkProperties(t, in, r)
	})
}

// checkProperties holds for every text, manifest or not.
func checkProperties(t *testing.T, in []byte, r *rewrite.Rules) {
	t.Helper()
	before, errRead := decode(in)
	given := bytes.Clone(in)
	out, found, err := Rewrite("in", in, r)
	if !bytes.Equal(in, given) {
		t.Fatal("the input was written to")
	}
	if err != nil {
		if out != nil || found.Changes != nil {
			t.Error("something was returned with an error")
		}
		if errRead == nil && countYAML(in) == len(before) {
			t.Errorf("kubectl reads the text, but: %v", err)
		}
		return
	}
	if errRead != nil {
		t.Fatalf("kubectl does not read the text: %v", errRead)
	}
	second, _, err := Rewrite("in", out, r)
	if err != nil {
		t.Fatalf("the output is not read: %v\n%s", err, out)
	}
	if !bytes.Equal(out, second) {
		t.Errorf("a second pass changes the text\nfirst:  %q\nsecond: %q", out, second)
	}
	checkBytes(t, in, out, found.Changes, r)
	after, err := decode(out)
	if err != nil {
		t.Fatalf("the output cannot be decoded: %v\n%s", err, out)
	}
	o := oracle{rules: r, obstacles: map[string]bool{}}
	images := 0
	for _, c := range found.Changes {
		if c.Obstacle != "" || strings.Contains(c.Result.Rule, "in place of") {
			o.obstacles[fmt.Sprint(c.Document, c.Path)] = true
		}
		if c.Result.Source != "" && (!strings.Contains(c.Result.Rule, "in place of") || strings.Contains(c.Result.Rule, "timestamp")) {
			images++
		}
	}
	m, err := Parse("in", in)
	if err != nil {
		t.Fatal(err)
	}
	var want []any
	for _, d := range m.Documents() {
		o.object(d.Object, "", "", fmt.Sprint(d.Number))
		if d.Object != nil {
			want = append(want, d.Object)
		}
	}
	isNull := func(object any) bool { return object == nil }
	if diff := cmp.Diff(want, slices.DeleteFunc(after, isNull), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-what the images should be, all else unchanged +got:\n%s", diff)
	}
	if images != o.found {
		t.Errorf("%d references were reported, the documents have %d", images, o.found)
	}
}

// countYAML counts the documents that another reader sees in the text, -1 if it is
// none to it.
func countYAML(text []byte) int {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) || isJSON(text) {
		return -1
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	for count := 0; ; count++ {
		var doc any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return count
		} else if err != nil {
			return -1
		}
	}
}

// checkBytes takes the targets out of the output and the sources out of the
// input: what is left must be the same, notation aside.
func checkBytes(t *testing.T, in, out []byte, changes []Change, r *rewrite.Rules) {
	t.Helper()
	written := slices.ContainsFunc(changes, Change.Written)
	if !written && !bytes.Equal(in, out) {
		t.Error("nothing was rewritten, yet the text differs")
	}
	m, err := Parse("in", in)
	if err != nil {
		t.Fatal(err)
	}
	var edits []edit
	for _, d := range m.documents {
		fields, _, _ := d.find(r)
		planned, err := plan(d, fields)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range planned {
			e.start, e.end = e.start+d.start, e.end+d.start
			edits = append(edits, e)
		}
	}
	rest, end := out, 0
	for _, e := range edits {
		kept := in[end:e.start]
		if e.start < end || !bytes.HasPrefix(rest, kept) || !bytes.HasPrefix(rest[len(kept):], []byte(e.text)) {
			t.Fatalf("bytes other than the images changed:\n%q\n%q", in, out)
		}
		rest, end = rest[len(kept)+len(e.text):], e.end
		if old := string(in[e.start:e.end]); e.token.Kind == yaml.ScalarNode && !strings.ContainsAny(old, `\`) && !strings.Contains(old, e.token.Value) {
			t.Errorf("%q was replaced, which is not %q", old, e.token.Value)
		}
	}
	if !bytes.Equal(rest, in[end:]) {
		t.Fatalf("bytes after the images changed:\n%q\n%q", in, out)
	}
}

// oracle rewrites decoded values. It shares with the package only the knowledge
// of podspec's tables and the rules.
type oracle struct {
	rules     *rewrite.Rules
	obstacles map[string]bool // paths that were reported with an obstacle
	found     int
}

func (o *oracle) object(v any, version, kind, path string) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	if k, ok := m["kind"].(string); ok && k != "" {
		kind = k
	}
	if k, ok := m["apiVersion"].(string); ok && k != "" {
		version = k
	}
	items, isList := m["items"].([]any)
	if strings.HasSuffix(kind, "List") && isList {
		for i, item := range items {
			o.object(item, version, strings.TrimSuffix(kind, "List"), fmt.Sprintf("%s/items/%d", path, i))
		}
		return
	}
	standard, isCustom := podspec.Template(version, kind)
	if isCustom {
		if spec, ok := m["spec"].(map[string]any); ok && kind == "VkOptionsTemplate" && strings.HasPrefix(version, "offloading.liqo.io/") {
			o.set(spec, "containerImage", path+"/spec/containerImage", o.rules.Image)
		}
		for key, value := range m {
			if key != "metadata" && key != "status" && !o.isSpec(m) {
				o.custom(value, path+"/"+key)
			}
		}
		if o.isSpec(m) {
			o.custom(m, path)
		}
		return
	}
	if standard == nil {
		return
	}
	var at any = m
	for _, key := range standard {
		in, _ := at.(map[string]any)
		at = in[key]
	}
	if spec, ok := at.(map[string]any); ok {
		o.spec(spec, path+"/"+strings.Join(standard, "/"))
	}
}

func (o *oracle) isSpec(m map[string]any) bool {
	for _, name := range []string{"containers", "initContainers", "ephemeralContainers"} {
		list, _ := m[name].([]any)
		for _, item := range list {
			if container, ok := item.(map[string]any); ok {
				if _, ok := container["image"]; ok {
					return true
				}
			}
		}
	}
	return false
}

func (o *oracle) custom(v any, path string) {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			o.inner(item, fmt.Sprintf("%s/%d", path, i))
		}
	case map[string]any:
		isSpec := o.isSpec(v)
		if isSpec {
			o.spec(v, path)
		}
		for key, value := range v {
			if !isSpec || !slices.Contains([]string{"containers", "initContainers", "ephemeralContainers", "volumes"}, key) {
				o.inner(value, path+podspec.Pointer([]string{key}))
			}
		}
	}
}

func (o *oracle) inner(v any, path string) {
	m, _ := v.(map[string]any)
	version, _ := m["apiVersion"].(string)
	if kind, _ := m["kind"].(string); kind != "" && version != "" {
		o.object(v, "", "", path)
		return
	}
	o.custom(v, path)
}

func (o *oracle) spec(spec map[string]any, path string) {
	for _, list := range podspec.Lists() {
		items, _ := spec[list.Name].([]any)
		for i, item := range items {
			m, ok := item.(map[string]any)
			if !ok {
				continue
			}
			here := fmt.Sprintf("%s/%s/%d", path, list.Name, i)
			if list.Env {
				o.env(m["env"], here)
			}
			for _, key := range list.Image[:len(list.Image)-1] {
				m, _ = m[key].(map[string]any)
			}
			o.set(m, list.Image[len(list.Image)-1], here+"/"+strings.Join(list.Image, "/"), o.rules.Image)
		}
	}
}

func (o *oracle) env(v any, path string) {
	vars, _ := v.([]any)
	for i, v := range vars {
		m, _ := v.(map[string]any)
		if name, ok := m["name"].(string); ok && slices.Contains(o.rules.EnvVars(), name) {
			o.set(m, "value", fmt.Sprintf("%s/env/%d/value", path, i), o.rules.EnvValue)
		}
	}
}

func (o *oracle) set(m map[string]any, key, path string, answer func(string) rewrite.Result) {
	text, ok := m[key].(string)
	if !ok || text == "" {
		return
	}
	o.found++
	if !o.obstacles[path] {
		m[key] = answer(text).Target
	}
}
