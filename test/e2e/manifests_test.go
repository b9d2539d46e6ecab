// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/testutil/schemas"
)

// variants of the bundle: what a user uncomments in the tree, and the arguments
// of privatelink install that do the same.
var variants = map[string]struct{ components, install []string }{
	"the bundle as it is": {},
	"with cert-manager":   {[]string{"cert-manager"}, []string{"--overlay", "cert-manager"}},
	"on the host network": {[]string{"host-network"}, []string{"--overlay", "host-network"}},
	"with both overlays":  {[]string{"cert-manager", "host-network"}, []string{"--overlay", "cert-manager,host-network"}},
	"a guard that denies": {[]string{"guard-deny"}, []string{"--guard", "deny"}},
	"without a guard":     {[]string{"guard-off"}, []string{"--guard", "off"}},
	"with monitoring":     {[]string{"monitoring"}, []string{"--overlay", "monitoring"}},
}

func TestManifestsOfKubectlAndOfPrivatelinkInstallAreTheSame(t *testing.T) {
	t.Parallel()
	programs := []string{h.KubectlPath}
	if other, err := exec.LookPath("kubectl"); err == nil {
		programs = append(programs, other)
	}
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			want := objects(t, privatelink(t, append([]string{"install", "--registry", ecr}, v.install...)...))
			dir := tree(t, v.components...)
			for _, program := range programs {
				if d := cmp.Diff(want, objects(t, kustomize(t, program, dir))); d != "" {
					t.Errorf("-privatelink install +%s kustomize:\n%s", program, d)
				}
			}
			if len(v.components) != 1 {
				return
			}
			// The folders below overlays are another way to the same.
			dir = tree(t)
			if _, err := os.Stat(filepath.Join(dir, "overlays", v.components[0])); err != nil {
				return
			}
			top := filepath.Join(dir, "kustomization.yaml")
			text, err := os.ReadFile(top)
			if err == nil {
				text = bytes.Replace(text, []byte("resources:\n- base\n"), []byte("resources:\n- overlays/"+v.components[0]+"\n"), 1)
				err = os.WriteFile(top, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, objects(t, kustomize(t, h.KubectlPath, dir))); d != "" {
				t.Errorf("-privatelink install +overlays/%s:\n%s", v.components[0], d)
			}
		})
	}
}

func kustomize(t *testing.T, program, dir string) []byte {
	t.Helper()
	out, err := exec.CommandContext(testCtx, program, "kustomize", dir).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects are manifests by kind and name.
func objects(t *testing.T, manifests []byte) map[string]any {
	t.Helper()
	out := map[string]any{}
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		var o map[string]any
		if err := documents.Decode(&o); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		items := []any{o}
		if o["kind"] == "List" {
			items = o["items"].([]any)
		}
		for _, item := range items {
			object := item.(map[string]any)
			key := fmt.Sprint(object["kind"], " ", object["metadata"].(map[string]any)["name"])
			if out[key] != nil {
				t.Errorf("%s stands twice", key)
			}
			out[key] = object
		}
	}
}

// Strict validation knows every field, and a warning is an error: among them
// those of Pod Security and of deprecated fields.
func TestManifestsPassTheAPIServersStrictValidation(t *testing.T) {
	// A dry run makes no namespace for what comes after it, and the namespace's
	// labels decide about warnings. So the namespace comes first, for real.
	_, err := h.Client.CoreV1().Namespaces().Get(testCtx, deploy.Namespace, metav1.GetOptions{})
	installed := !apierrors.IsNotFound(err)
	t.Parallel()
	certManagerCRDs(t)
	operatorCRDs(t)
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			text := privatelink(t, append([]string{"install", "--registry", ecr}, v.install...)...)
			kubectl(t, only(t, text, "Namespace"), "apply", "--validate=strict", "-f", "-")
			out := kubectl(t, text, "apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-")
			if got, want := strings.Count(out, "(server dry run)"), len(objects(t, text)); got != want {
				t.Errorf("%d objects passed, want %d:\n%s", got, want, out)
			}
		})
	}
	if installed {
		kubectl(t, only(t, privatelink(t, "install", "--registry", ecr), "Namespace"), "apply", "-f", "-")
	} else {
		gone(t, deploy.Namespace)
	}
}

// only returns the documents of one kind.
func only(t *testing.T, manifests []byte, kind string) []byte {
	t.Helper()
	for d := range bytes.SplitSeq(manifests, []byte("\n---\n")) {
		if bytes.Contains(append([]byte("\n"), d...), []byte("\nkind: "+kind+"\n")) {
			return d
		}
	}
	t.Fatalf("there is no %s", kind)
	return nil
}

// certManagerCRDs installs cert-manager's own definitions, as far as the bundle
// needs them. They come with the module of cert-manager.
func certManagerCRDs(t *testing.T) {
	t.Helper()
	list := exec.CommandContext(testCtx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	list.Dir = h.Root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "deploy", "crds")
	for _, name := range []string{"issuers", "certificates"} {
		define(t, filepath.Join(dir, "cert-manager.io_"+name+".yaml"), name+".cert-manager.io")
	}
}

// operatorCRDs installs the Prometheus operator's own definitions, as far as the bundle
// needs them. They come with the module of the operator.
func operatorCRDs(t *testing.T) {
	t.Helper()
	dir, err := schemas.Operator(testCtx, h.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"podmonitors", "prometheusrules"} {
		define(t, filepath.Join(dir, "monitoring.coreos.com_"+name+".yaml"), name+".monitoring.coreos.com")
	}
}

// define installs a custom resource definition.
func define(t *testing.T, file, name string) {
	t.Helper()
	// Its size exceeds what client-side apply can record in an annotation.
	kubectl(t, nil, "apply", "--server-side", "-f", file)
	kubectl(t, nil, "wait", "--for=condition=Established", "crd/"+name, "--timeout=30s")
}
