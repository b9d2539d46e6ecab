// SPDX-License-Identifier: Apache-2.0

package podspec

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// A field that names an image, in a release of Kubernetes to come, shows up
// here as soon as its API module is taken up.
func TestListsCoverEveryImageOfTheAPI(t *testing.T) {
	var listed []string
	for _, l := range Lists() {
		listed = append(listed, l.Name+"."+strings.Join(l.Image, "."))
	}
	fields := texts(reflect.TypeFor[corev1.PodSpec](), "", func(field string) bool {
		return strings.Contains(strings.ToLower(field), "image") || field == "reference"
	})
	fields = slices.DeleteFunc(fields, func(path string) bool {
		return strings.HasSuffix(strings.ToLower(path), "pullpolicy") || // how, not what
			path == "imagePullSecrets.name" ||
			path == "volumes.rbd.image" // of a block device in Ceph
	})
	slices.Sort(fields)
	slices.Sort(listed)
	if diff := cmp.Diff(fields, listed); diff != "" {
		t.Errorf("Lists and the API differ (-API +Lists):\n%s", diff)
	}
}

// texts are the paths of all texts below a type that have a name of the kind on
// their way.
func texts(of reflect.Type, path string, named func(string) bool) (out []string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() == reflect.String && slices.ContainsFunc(strings.Split(path, "."), named) {
		return []string{path}
	}
	if of.Kind() != reflect.Struct {
		return nil
	}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		below := strings.TrimPrefix(path+"."+name, ".")
		if name == "" { // embedded
			below = path
		}
		out = append(out, texts(f.Type, below, named)...)
	}
	return out
}

func TestTemplate(t *testing.T) {
	for kind, want := range map[string]string{
		"v1 ConfigMap": "", "v1 ": "", " ": "", " Deployment": "spec/template/spec", " Secret": "",
		"argoproj.io/v1alpha1 Rollout": "custom", " Rollout": "custom", "serving.knative.dev/v1 Service": "custom", "kyverno.io/v1 Policy": "", "policies.kyverno.io/v1 MutatingPolicy": "",
		"v1 Service": "", "example.com/v1 ": "custom",
	} {
		apiVersion, name, _ := strings.Cut(kind, " ")
		path, isCustom := Template(apiVersion, name)
		if got := strings.Join(path, "/"); got != want && !(isCustom && want == "custom") {
			t.Errorf("the pod spec of a %s is at %q, want %q", kind, got, want)
		}
	}
}
