// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// rewriteTree does by the decoded pod what the patch must come to.
func rewriteTree(r *rewrite.Rules, pod any) {
	eachReference(pod, func(f fieldValue, set func(string)) {
		switch {
		case !f.isEnv:
			set(r.Image(f.value).Target)
		case slices.Contains(r.EnvVars(), f.env):
			set(r.EnvValue(f.value).Target)
		}
	})
}

// eachReference visits each image of the pod that is created or updated, and each
// value of an environment variable.
func eachReference(pod any, visit func(f fieldValue, set func(string))) {
	text := func(v any) string { s, _ := v.(string); return s }
	field := func(f fieldValue, m map[string]any, key string) {
		if s, ok := m[key].(string); ok {
			f.value = s
			visit(f, func(s string) { m[key] = s })
		}
	}
	for _, list := range []string{"containers", "initContainers"} {
		for _, c := range items(pod, list) {
			at := fieldValue{list: list, item: text(c["name"])}
			field(at, c, "image")
			env, _ := c["env"].([]any)
			for _, e := range env {
				if v, ok := e.(map[string]any); ok {
					at.isEnv, at.env = true, text(v["name"])
					field(at, v, "value")
				}
			}
		}
	}
	for _, v := range items(pod, "volumes") {
		source, _ := v["image"].(map[string]any)
		field(fieldValue{list: "volumes", item: text(v["name"])}, source, "reference")
	}
}

// references are the texts at each location, several where names are not unique.
func references(pod any) map[string][]string {
	out := map[string][]string{}
	eachReference(pod, func(f fieldValue, _ func(string)) {
		location := f.list + "/" + f.item
		if f.isEnv {
			location += "/env/" + f.env
		}
		out[location] = append(out[location], f.value)
	})
	return out
}

func fieldValues(pod any) map[fieldValue]bool {
	out := map[fieldValue]bool{}
	eachReference(pod, func(f fieldValue, _ func(string)) { out[f] = true })
	return out
}

func rewriteField(m map[string]any, key string, rule func(string) rewrite.Result) {
	if s, ok := m[key].(string); ok {
		m[key] = rule(s).Target
	}
}

func items(pod any, list string) (out []map[string]any) {
	root, _ := pod.(map[string]any)
	spec, _ := root["spec"].(map[string]any)
	all, _ := spec[list].([]any)
	for _, i := range all {
		if m, ok := i.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// forget drops our annotation, and the map that was made for it.
func forget(pod any) {
	root, _ := pod.(map[string]any)
	metadata, _ := root["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	delete(annotations, podspec.OriginalImages)
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
}

func recorded(pod any) (record map[string]string) {
	root, _ := pod.(map[string]any)
	metadata, _ := root["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value, _ := annotations[podspec.OriginalImages].(string)
	if err := json.Unmarshal([]byte(value), &record); err != nil {
		return nil
	}
	return record
}

// decode keeps the text of numbers.
func decode(t *testing.T, doc []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil
	}
	return v
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// applied applies a patch with the API server's library.
func applied(t *testing.T, doc, patch []byte) []byte {
	t.Helper()
	if string(patch) == "[]" {
		return doc
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("patch %s: %v", patch, err)
	}
	out, err := p.Apply(doc)
	if err != nil {
		t.Fatalf("the patch does not apply: %v\npatch %s\npod %s", err, patch, doc)
	}
	return out
}
