// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestWalk(t *testing.T) {
	const containers = `{"containers": [{"image": "x"}]}`
	for document, want := range map[string][]string{
		`{"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}}`:                                                                                                                   {"Pod n/p /spec"},
		`{"kind": "Deployment", "metadata": {"generateName": "d-"}, "spec": {"template": {"spec": {"initContainers": [{}]}}}}`:                                                                                       {"Deployment /d- /spec/template/spec"},
		`{"kind": "Nightly", "metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": ` + containers + `}}}}}`:                                                                              {"Nightly /c /spec/jobTemplate/spec/template/spec"},
		`{"kind": "PodList", "items": [{"metadata": {"name": "a"}, "spec": {"containers": []}}, {"kind": "Secret", "spec": ` + containers + `}]}`:                                                                    {"Pod /a /items/0/spec"},
		`{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"spec": {"template": {"spec": {}}}}]}`:                                                                                                       {"Deployment / /items/0/spec/template/spec"},
		`{"kind": "WishList", "metadata": {"name": "w"}, "spec": {"template": {"spec": ` + containers + `}}}`:                                                                                                        {"WishList /w /spec/template/spec"},
		`{"kind": "ConfigMap", "spec": {"template": {"spec": ` + containers + `}}}`:                                                                                                                                  nil,
		`{"kind": "Custom", "spec": {"template": {"spec": {"volumes": []}}}}`:                                                                                                                                        nil,
		`{"apiVersion": "v1", "kind": "Service", "spec": {"template": {"spec": ` + containers + `}}}`:                                                                                                                nil,
		`{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "spec": {"template": {"spec": ` + containers + `}}}`:                                                                                            {"Service / /spec/template/spec"},
		`{"apiVersion": "example.com/v1", "kind": "Pod", "spec": ` + containers + `}`:                                                                                                                                {"Pod / /spec"},
		`{"apiVersion": "example.com/v1", "kind": "ConfigMap", "data": ` + containers + `}`:                                                                                                                          {"ConfigMap / /data"},
		`{"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": {"spec": {"template": {"spec": ` + containers + `}}}}`:                                                                                      nil,
		`{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": {"default": ` + containers + `}}`:                                                                                     nil,
		`{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "spec": {"rules": [{"validate": {"pattern": {"spec": ` + containers + `}}}]}}`:                                                                     nil,
		`{"apiVersion": "example.com/v1", "kind": "A", "metadata": ` + containers + `, "status": ` + containers + `, "x": {"status": [` + containers + `]}}`:                                                         {"A / /x/status/0"},
		`{"apiVersion": "example.com/v1", "kind": "A", "spec": {"containers": [{"image": "x"}], "also": {"ephemeralContainers": [{"image": {}}]}}}`:                                                                  {"A / /spec", "A / /spec/also"},
		`{"apiVersion": "example.com/v1", "kind": "A", "spec": {"containers": [{"name": "x"}], "initContainers": "x"}}`:                                                                                              nil,
		`{"apiVersion": "example.com/v1", "kind": "A", "objects": [{"apiVersion": "v1", "kind": "ConfigMap", "x": ` + containers + `}, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}]}`: {"Pod /p /objects/1/spec"},
		`{"apiVersion": "offloading.liqo.io/v1beta1", "kind": "VkOptionsTemplate", "spec": {"containerImage": "x"}}`:                                                                                                 {"VkOptionsTemplate / /spec/containerImage"},
		// A value with one of apiVersion and kind is a part of its object, as a reference is.
		`{"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "a"}, "x": {"kind": "Pod", "spec": ` + containers + `}}`:      {"A /a /x/spec"},
		`{"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "a"}, "x": {"apiVersion": "v1", "spec": ` + containers + `}}`: {"A /a /x/spec"},
		// An empty text is as one that is missing.
		`{"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "", "generateName": "a-"}, "x": ` + containers + `}`: {"A /a- /x"},
		`{"apiVersion": "offloading.liqo.io/v1beta1", "kind": "Other", "spec": {"containerImage": "x"}}`:                         nil,
		`{"apiVersion": "example.com/v1", "kind": "VkOptionsTemplate", "spec": {"containerImage": "x"}}`:                         nil,
		`{"apiVersion": "offloading.liqo.io/v1beta1", "kind": "VkOptionsTemplate", "spec": {"createNode": true}}`:                nil,
		`{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": "text"}}`:                                          {"Deployment / /spec/template"},
		`{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": null}}`:                                            nil,
		`{"spec": ` + containers + `}`: nil,
		`3`:                            nil,
	} {
		var have []string
		Walk(decode(t, document), func(w Workload) {
			have = append(have, w.Kind+" "+w.Namespace+"/"+w.Name+" "+Pointer(w.Path))
		})
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: -want +have\n%s", document, diff)
		}
	}
}

func decode(t testing.TB, document string) (decoded any) {
	t.Helper()
	if err := json.Unmarshal([]byte(document), &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func TestThePodOfACustomResourceHasTheMetadataOfItsTemplate(t *testing.T) {
	for document, want := range map[string]any{
		`{"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "a"}, "spec": {"containers": [{"image": "x"}]}}`:                                               nil,
		`{"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "a"}, "spec": {"t": [{"metadata": {"name": "t"}, "spec": {"containers": [{"image": "x"}]}}]}}`: map[string]any{"name": "t"},
		`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"image": "x"}]}}`:                                                         map[string]any{"name": "a"},
	} {
		Walk(decode(t, document), func(w Workload) {
			if diff := cmp.Diff(want, w.Template["metadata"]); diff != "" {
				t.Errorf("%s: -want +have\n%s", document, diff)
			}
		})
	}
}

func TestLocations(t *testing.T) {
	for spec, want := range map[string][]string{
		`{"containers": [{"image": "a", "env": [{"name": "X", "value": "b"}, {"name": "Y", "value": "c"}, {"name": "X", "valueFrom": {}}]}]}`:  {`/spec/containers/0/image  "a"`, `/spec/containers/0/env/0/value X "b"`},
		`{"ephemeralContainers": [{"image": "a"}], "volumes": [{"name": "v"}, {"image": {"reference": "b"}}, {"image": {}}, {"image": null}]}`: {`/spec/ephemeralContainers/0/image  "a"`, `/spec/volumes/1/image/reference  "b"`},
		`{"containers": [{"image": 1}, {"image": null}, {"image": {"repository": "a"}}, {"image": ["a"]}, {"image": true}, {}, {"Image": "a"}]}`: {
			"/spec/containers/0/image  a number in place of text", "/spec/containers/1/image  null in place of text", "/spec/containers/2/image  an object in place of text", "/spec/containers/3/image  a list in place of text", "/spec/containers/4/image  a boolean in place of text"},
		`{"containers": "{{ x }}", "initContainers": ["y", null], "volumes": [{"image": "z"}]}`: {
			"/spec/initContainers/0  text in place of an object", "/spec/initContainers/1  null in place of an object", "/spec/containers  text in place of a list", "/spec/volumes/0/image  text in place of an object"},
		`{"containers": [{"env": [{"name": "X", "value": 1}, {"name": "X"}]}], "initContainers": [{"env": "{{ x }}"}]}`: {"/spec/containers/0/env/0/value X a number in place of text"},
		`"{{ x }}"`: {"/spec  text in place of an object"},
	} {
		var have []string
		Walk(decode(t, `{"apiVersion": "v1", "kind": "Pod", "spec": `+spec+`}`), func(w Workload) {
			for _, l := range w.Locations([]string{"X"}) {
				value := l.Fault
				if value == "" {
					value = fmt.Sprintf("%q", l.Text)
				}
				have = append(have, l.Pointer()+" "+l.Env+" "+value)
			}
		})
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: -want +have\n%s", spec, diff)
		}
	}
}

func TestSetReplacesTheValueInTheDocument(t *testing.T) {
	for document, want := range map[string]string{
		`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"a"}]}}`:                                     `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"b"}]}}`,
		`{"apiVersion":"example.com/v1","kind":"A","x":{"y/z":{"containers":[{"image":"a"}]}}}`:                      `{"apiVersion":"example.com/v1","kind":"A","x":{"y/z":{"containers":[{"image":"b"}]}}}`,
		`{"apiVersion":"offloading.liqo.io/v1beta1","kind":"VkOptionsTemplate","spec":{"containerImage":"a","c":1}}`: `{"apiVersion":"offloading.liqo.io/v1beta1","kind":"VkOptionsTemplate","spec":{"c":1,"containerImage":"b"}}`,
	} {
		decoded := decode(t, document)
		Walk(decoded, func(w Workload) {
			for _, l := range w.Locations(nil) {
				l.Set("b")
			}
		})
		have, err := json.Marshal(decoded)
		if err != nil || string(have) != want {
			t.Errorf("%s, want %s (%v)", have, want, err)
		}
	}
}

func TestPointer(t *testing.T) {
	if have := Pointer([]string{"a", "b/c", "~1", "0"}); have != "/a/b~1c/~01/0" {
		t.Error(have)
	}
}

// The groups that client-go knows are those that kube-apiserver serves, and all kinds
// of Kubernetes with a pod template are among them.
func TestEveryBuiltInKindIsKnown(t *testing.T) {
	found := 0
	for kind, of := range scheme.Scheme.AllKnownTypes() {
		if kind.Version == "__internal" {
			continue
		}
		if !isBuiltIn(kind.Group) {
			t.Errorf("group %s is not known", kind.Group)
		}
		path, ok := pathToPodSpec(of, 5)
		if !ok || strings.HasSuffix(kind.Kind, "List") {
			continue
		}
		found++
		if have, _ := Template(kind.GroupVersion().String(), kind.Kind); !slices.Equal(have, path) {
			t.Errorf("the pod spec of %s is at %v, not at %v", kind, path, have)
		}
	}
	if found < 9 {
		t.Errorf("found only %d kinds with a pod spec", found)
	}
}

// pathToPodSpec finds the field of type PodSpec, at most depth fields below a type.
func pathToPodSpec(of reflect.Type, depth int) (path []string, ok bool) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of == reflect.TypeFor[corev1.PodSpec]() {
		return nil, true
	}
	if of.Kind() != reflect.Struct || depth == 0 {
		return nil, false
	}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if path, ok := pathToPodSpec(f.Type, depth-1); ok {
			return append([]string{name}, path...), true
		}
	}
	return nil, false
}
