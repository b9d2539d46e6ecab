// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/schemas"
)

// TestKubeconform checks what Helm renders from generated values, with the schemas of
// Kubernetes and cert-manager. The bundle equals it (TestTheChartEqualsTheBundle).
func TestKubeconform(t *testing.T) {
	check := newKubeconform(t)
	random := rand.New(rand.NewPCG(3, 4))
	manifests := t.TempDir()
	objects := 0
	for i := range combinations {
		values := parse(t, generate(random))
		rendered, err := helmTemplate(load(t), values, release{})
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(rendered, func(name, _ string) bool { return path.Base(name) == "NOTES.txt" })
		check.write(t, filepath.Join(manifests, fmt.Sprintf("%03d.yaml", i)), strings.Join(slices.Collect(maps.Values(rendered)), "\n---\n"))
		objects += len(helmObjects(t, load(t), values, release{}))
	}
	got := check.run(t, manifests)
	if got.Summary.Valid != objects {
		t.Errorf("%d of %d objects are valid", got.Summary.Valid, objects)
	}
	for _, r := range got.Resources {
		t.Errorf("%s: %s %s: %s: %s", filepath.Base(r.Filename), r.Kind, r.Name, r.Status, r.Msg)
	}
}

// A field without a schema would pass: kubeconform itself is checked.
func TestKubeconformRefusesAnUnknownField(t *testing.T) {
	check := newKubeconform(t)
	manifests := t.TempDir()
	check.write(t, filepath.Join(manifests, "wrong.yaml"), `
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: wrong}
  spec:
    selector: {matchLabels: {a: b}}
    template:
      metadata: {labels: {a: b}}
      spec:
        containers: [{name: a, image: b, securitycontext: {}}]
`)
	got := check.run(t, manifests)
	if got.Summary.Invalid != 1 || len(got.Resources) != 1 || !strings.Contains(got.Resources[0].Msg, "securitycontext") {
		t.Errorf("%+v", got)
	}
}

// kubeconform is the program that lint pins, with schemas for all kinds of the chart.
type kubeconform struct{ schemas string }

func newKubeconform(t *testing.T) kubeconform {
	t.Helper()
	k := kubeconform{t.TempDir()}
	if err := schemas.Write(t.Context(), filepath.Join("..", ".."), k.schemas); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k kubeconform) write(t *testing.T, file, manifests string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
}

// findings are what kubeconform prints: objects that are not valid, and the numbers of all.
type findings struct {
	Resources []struct{ Filename, Kind, Name, Status, Msg string }
	Summary   struct{ Valid, Invalid, Errors, Skipped int }
}

// run checks the manifests in a folder. A kind without a schema is an error.
func (k kubeconform) run(t *testing.T, manifests string) (got findings) {
	t.Helper()
	modfile, err := filepath.Abs(filepath.Join("..", "..", "internal", "tools", "lint", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile="+modfile, "kubeconform",
		"-strict", "-summary", "-output", "json", "-schema-location", schemas.Location(k.schemas), manifests)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output() // it fails for what it finds
	if decoding := json.Unmarshal(out, &got); decoding != nil {
		t.Fatalf("kubeconform: %v, %v\n%s%s", err, decoding, out, stderr.Bytes())
	}
	return got
}
