// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/podspec"
)

// pods returns the pods of a namespace by what they are to their workload, and
// without what makes each pod unique.
func pods(t *testing.T, namespace string) map[string]map[string]any {
	t.Helper()
	raw, err := h.RawPods(testCtx, namespace)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, r := range raw {
		p := decode(t, token.ReplaceAll(r, []byte("kube-api-access-x")))
		metadata := p["metadata"].(map[string]any)
		name := metadata["name"].(string)
		if prefix, ok := metadata["generateName"].(string); ok {
			for name = prefix; out[name] != nil; {
				name += "*" // another replica
			}
			delete(metadata, "name")
		}
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "managedFields", "namespace"} {
			delete(metadata, field)
		}
		if owners, ok := metadata["ownerReferences"].([]any); ok {
			delete(owners[0].(map[string]any), "uid")
		}
		if labels, ok := metadata["labels"].(map[string]any); ok {
			delete(labels, "controller-uid")
			delete(labels, "batch.kubernetes.io/controller-uid")
		}
		// kubectl keeps the manifest as it was applied, with the namespace.
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			const applied = "kubectl.kubernetes.io/last-applied-configuration"
			if text, ok := annotations[applied].(string); ok {
				annotations[applied] = strings.Replace(text, `"namespace":"`+namespace+`"`, "", 1)
			}
		}
		out[name] = p
	}
	return out
}

var (
	token = regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`)
	hash  = regexp.MustCompile(`-[a-z0-9]{6,10}-$|-$`)
)

// workload is the name of the controller of the pod.
func workload(name string) string { return hash.ReplaceAllString(strings.TrimRight(name, "*"), "") }

// references finds every image reference of a pod by its field. It does not use the
// product's scanner, which is under test.
func references(p map[string]any) map[string]string {
	out := map[string]string{}
	visit(p, func(field, reference string, _ func(string)) { out[field] = reference })
	return out
}

// replace writes references into their fields.
func replace(p map[string]any, references map[string]string) {
	visit(p, func(field, _ string, set func(string)) { set(references[field]) })
}

func visit(p map[string]any, f func(field, reference string, set func(string))) {
	spec := p["spec"].(map[string]any)
	items := func(o map[string]any, list string) (out []map[string]any) {
		all, _ := o[list].([]any)
		for _, i := range all {
			out = append(out, i.(map[string]any))
		}
		return out
	}
	text := func(o map[string]any, path, key string) {
		if reference, ok := o[key].(string); ok {
			f(path, reference, func(s string) { o[key] = s })
		}
	}
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		for _, c := range items(spec, list) {
			field := list + "/" + c["name"].(string)
			text(c, field, "image")
			for _, e := range items(c, "env") {
				if name := e["name"].(string); slices.Contains([]string{"JMX_EXPORTER_INIT_IMAGE", "SCANNERS_IMAGE"}, name) {
					text(e, field+"/env/"+name, "value")
				}
			}
		}
	}
	for _, v := range items(spec, "volumes") {
		if image, ok := v["image"].(map[string]any); ok {
			text(image, "volumes/"+v["name"].(string), "reference")
		}
	}
}

// record reads the annotation; a pod that was not changed has none.
func record(t *testing.T, annotations map[string]any) map[string]string {
	t.Helper()
	out := map[string]string{}
	if text, ok := annotations[podspec.OriginalImages].(string); ok {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Errorf("annotation %s: %v", podspec.OriginalImages, err)
		}
		if len(out) == 0 {
			t.Errorf("annotation %s is empty", podspec.OriginalImages)
		}
	}
	return out
}
