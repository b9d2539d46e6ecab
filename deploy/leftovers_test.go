// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// doctorRoles returns the ClusterRoles of privatelink doctor, which may be in any cluster.
func doctorRoles(t *testing.T) (all []runtime.Object) {
	t.Helper()
	file, err := os.Open("components/doctor-rbac/roles.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	documents := utilyaml.NewYAMLOrJSONDecoder(file, 4096)
	for {
		var role unstructured.Unstructured
		if err := documents.Decode(&role); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, &role)
	}
}

// The commands of the page delete, of the kinds that they name, what the component
// cert-manager leaves out, and nothing else.
func TestTheCommandsAfterAChangeToCertManager(t *testing.T) {
	page, err := os.ReadFile("../docs/guide/install.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`kubectl .*delete (\S+) -l (\S+)\n`).FindAllStringSubmatch(string(page), -1)
	if len(commands) != 2 {
		t.Fatalf("%d commands with a selector", len(commands))
	}
	before, err := Objects(Options{Rules: rules(t, rewrite.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	after, err := Objects(Options{Rules: rules(t, rewrite.Config{}), Overlays: []string{"cert-manager"}})
	if err != nil {
		t.Fatal(err)
	}
	var stay []string
	for _, object := range slices.Concat(after, doctorRoles(t)) {
		stay = append(stay, identity(t, object))
	}
	for _, command := range commands {
		kinds := strings.Split(command[1], ",")
		selector, err := labels.Parse(command[2])
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range slices.Concat(before, doctorRoles(t)) {
			o, err := meta.Accessor(object)
			if err != nil {
				t.Fatal(err)
			}
			isOfKind := slices.Contains(kinds, strings.ToLower(object.GetObjectKind().GroupVersionKind().Kind))
			id := identity(t, object)
			if isOfKind && selector.Matches(labels.Set(o.GetLabels())) == slices.Contains(stay, id) {
				t.Errorf("%s\n%s is treated wrongly", strings.TrimSpace(command[0]), id)
			}
		}
	}
}
