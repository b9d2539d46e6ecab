// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/deploy/chart"
)

const registryOfExamples = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

// yamlExamples returns the YAML documents in a page by their kinds. Those without a kind
// are parts of a document.
func yamlExamples(t *testing.T, page string) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, page))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, fence := range strings.Split(string(text), "```yaml\n")[1:] {
		fence, _, _ = strings.Cut(fence, "```")
		documents := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(fence), 4096)
		for {
			var document map[string]any
			if err := documents.Decode(&document); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", page, err, fence)
			}
			kind, _ := document["kind"].(string)
			out[kind] = document
		}
	}
	return out
}

// at returns a field of a document.
func at(t *testing.T, document map[string]any, path ...string) any {
	t.Helper()
	var value any = document
	for _, key := range path {
		fields, ok := value.(map[string]any)
		if !ok || fields[key] == nil {
			t.Fatalf("there is no field %s", strings.Join(path, "."))
		}
		value = fields[key]
	}
	return value
}

// The values of the examples are values of the chart.
func TestGitOpsExamplesOfTheChart(t *testing.T) {
	examples := yamlExamples(t, "docs/guide/gitops.md")
	for kind, paths := range map[string]struct{ values, namespace []string }{
		"Application": {[]string{"spec", "source", "helm", "valuesObject"}, []string{"spec", "destination", "namespace"}},
		"HelmRelease": {[]string{"spec", "values"}, []string{"spec", "targetNamespace"}},
	} {
		t.Run(kind, func(t *testing.T) {
			values, err := yaml.Marshal(at(t, examples[kind], paths.values...))
			if err != nil {
				t.Fatal(err)
			}
			o, err := chart.Options(kind, values)
			if err != nil {
				t.Fatal(err)
			}
			if got := o.Rules.Registry(); got != registryOfExamples {
				t.Errorf("registry %s", got)
			}
			if got := at(t, examples[kind], paths.namespace...); got != deploy.Namespace {
				t.Errorf("namespace %s", got)
			}
		})
	}
	url, name := at(t, examples["OCIRepository"], "spec", "url"), at(t, examples["OCIRepository"], "metadata", "name")
	if url != "oci://"+registryOfExamples+"/charts/"+chart.Name {
		t.Errorf("Flux reads %s", url)
	}
	if at(t, examples["HelmRelease"], "spec", "chartRef", "name") != name {
		t.Errorf("the HelmRelease does not refer to %s", name)
	}
	metadata, err := chart.ReadMetadata()
	if err != nil {
		t.Fatal(err)
	}
	if got := at(t, examples["OCIRepository"], "spec", "ref", "tag"); got != metadata.Version {
		t.Errorf("Flux reads version %v, and the chart has %s", got, metadata.Version)
	}
}

// Tools that install the chart create the namespace, and give it the labels of Pod
// Security that it has in the bundle.
func TestGitOpsExamplesLabelTheNamespace(t *testing.T) {
	examples := yamlExamples(t, "docs/guide/gitops.md")
	text, err := os.ReadFile(filepath.Join(repository, "deploy/base/namespace.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var namespace corev1.Namespace
	if err := yaml.UnmarshalStrict(text, &namespace); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{}
	for key, value := range namespace.Labels {
		if strings.HasPrefix(key, "pod-security.kubernetes.io/") {
			want[key] = value
		}
	}
	for kind, path := range map[string][]string{
		"Application": {"spec", "syncPolicy", "managedNamespaceMetadata", "labels"},
		"Namespace":   {"metadata", "labels"},
	} {
		t.Run(kind, func(t *testing.T) {
			if diff := cmp.Diff(want, at(t, examples[kind], path...)); diff != "" {
				t.Errorf("labels (-bundle +page):\n%s", diff)
			}
		})
	}
	if got := at(t, examples["Namespace"], "metadata", "name"); got != deploy.Namespace {
		t.Errorf("the Namespace is %v", got)
	}
	if install, ok := examples["HelmRelease"]["spec"].(map[string]any)["install"].(map[string]any); ok && install["createNamespace"] == true {
		t.Error("Flux would create the namespace without labels")
	}
}

// The overlay of the example can be built next to the tree.
func TestGitOpsExampleOfAnOverlay(t *testing.T) {
	text, err := yaml.Marshal(yamlExamples(t, "docs/guide/gitops.md")["Kustomization"])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = errors.Join(
		os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS(filepath.Join(repository, "deploy"))),
		os.Mkdir(filepath.Join(dir, "overlay"), 0o755),
		os.WriteFile(filepath.Join(dir, "overlay", "kustomization.yaml"), text, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(dir, "overlay"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out, []byte("image: "+registryOfExamples+"/"+deploy.Image+":")) || bytes.Contains(out, []byte("REGISTRY")) {
		t.Error("the registry is not in all places")
	}
}
