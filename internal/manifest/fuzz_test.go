// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

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
	before, parsed := decode(in)
	given := bytes.Clone(in)
	out, changes, err := Rewrite("in", in, r)
	if !bytes.Equal(in, given) {
		t.Fatal("the input was written to")
	}
	if err != nil {
		if out != nil || changes != nil {
			t.Error("something was returned with an error")
		}
		if parsed && !bytes.HasPrefix(in, []byte("\xff\xfe")) && !bytes.HasPrefix(in, []byte("\xfe\xff")) {
			t.Errorf("the text is YAML, but: %v", err)
		}
		return
	}
	second, _, err := Rewrite("in", out, r)
	if err != nil {
		t.Fatalf("the output is not read: %v\n%s", err, out)
	}
	if !bytes.Equal(out, second) {
		t.Errorf("a second pass changes the text\nfirst:  %q\nsecond: %q", out, second)
	}
	checkBytes(t, in, out, changes, r)
	if !parsed || bytes.Contains(in, []byte("binary")) {
		// A mapping with a key twice has no value to compare. A text in base64
		// (!!binary) has, but is no image to us.
		return
	}
	after, ok := decode(out)
	if !ok {
		t.Fatalf("the output cannot be decoded:\n%s", out)
	}
	o := oracle{rules: r, obstacles: map[string]bool{}}
	for _, c := range changes {
		if c.Obstacle != "" {
			o.obstacles[fmt.Sprint(c.Document, c.Path)] = true
		}
	}
	for i := range before {
		o.object(before[i], "", fmt.Sprint(i+1))
	}
	if diff := cmp.Diff(before, after, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("-what the images' places should be, all else unchanged +got:\n%s", diff)
	}
	found := 0
	for _, c := range changes {
		if c.Result.Source != "" {
			found++
		}
	}
	if found != o.found {
		t.Errorf("%d references were reported, the documents have %d", found, o.found)
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
	s, err := read("in", in)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGraph(s)
	if err != nil {
		t.Fatal(err)
	}
	edits, err := plan(s, g, find(s, g, r))
	if err != nil {
		t.Fatal(err)
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

// decode reads a text into plain values, the way every consumer does.
func decode(text []byte) (docs []any, ok bool) {
	if docs, ok := decodeJSON(text); ok {
		return docs, true
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, true
		}
		if err != nil {
			return nil, false
		}
		docs = append(docs, plain(doc))
	}
}

// plain gives all mappings one type; keys that are no strings get a name of their own.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case map[any]any:
		m := map[string]any{}
		for k, value := range v {
			key, ok := k.(string)
			if !ok {
				key = fmt.Sprintf("(%T) %v", k, k)
			}
			m[key] = plain(value)
		}
		return m
	}
	return v
}

func decodeJSON(text []byte) (docs []any, ok bool) {
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	if !utf8.Valid(text) || !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for {
		var doc any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, true
		}
		if err != nil {
			return nil, false
		}
		docs = append(docs, doc)
	}
}

// oracle rewrites decoded values. It shares with the package only the knowledge
// of podspec and the rules.
type oracle struct {
	rules     *rewrite.Rules
	obstacles map[string]bool // paths that were reported with an obstacle
	found     int
}

func (o *oracle) object(v any, kind, path string) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	if k, ok := m["kind"].(string); ok && k != "" {
		kind = k
	}
	items, isList := m["items"].([]any)
	if strings.HasSuffix(kind, "List") && isList {
		for i, item := range items {
			o.object(item, strings.TrimSuffix(kind, "List"), fmt.Sprintf("%s/items/%d", path, i))
		}
		return
	}
	standard := podspec.Template(kind)
	if standard == nil {
		return
	}
	for _, template := range [][]string{standard, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		var at any = m
		for _, key := range template {
			in, _ := at.(map[string]any)
			at = in[key]
		}
		spec, _ := at.(map[string]any)
		_, a := spec["containers"].([]any)
		_, b := spec["initContainers"].([]any)
		_, c := spec["ephemeralContainers"].([]any)
		if a || b || c {
			o.spec(spec, path+"/"+strings.Join(template, "/"))
			return
		}
	}
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
