// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/castai/privatelink-webhook/rewrite"
)

var update = flag.Bool("update", false, "write the generated files anew")

const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func rules(t testing.TB, c rewrite.Config) *rewrite.Rules {
	t.Helper()
	if c.Registry == "" {
		c.Registry = registry
	}
	r, err := rewrite.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t testing.TB, o Options) string {
	t.Helper()
	out, err := Render(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestTheBaseHoldsTheConditionsThatTheDefaultRulesGenerate(t *testing.T) {
	want, err := configuration(rules(t, rewrite.Config{Registry: "registry.invalid"}))
	if err != nil {
		t.Fatal(err)
	}
	want = strings.ReplaceAll(want, `"registry.invalid"`, `"REGISTRY"`)
	const file = "base/webhook-configuration.yaml"
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("run go test ./deploy -update (-want +have)\n%s", diff)
	}
}

// TestRenderEqualsTheTree edits the one line on disk, as a person does, and
// builds the checkout; the e2e test does the same with the real kubectl.
func TestRenderEqualsTheTree(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(string) string
		o    Options
	}{
		"the base":         {func(s string) string { return s }, Options{}},
		"cert-manager":     {use("- base\n", "- overlays/cert-manager\n"), Options{Overlays: []string{"cert-manager"}}},
		"host-network":     {use("- base\n", "- overlays/host-network\n"), Options{Overlays: []string{"host-network"}}},
		"both, by comment": {use("# components:", "components:", "# - components", "- components"), Options{Overlays: Overlays()}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(dir + "/kustomization.yaml")
			if err != nil {
				t.Fatal(err)
			}
			edited := tc.edit(use("ACCOUNT.dkr.ecr.REGION.amazonaws.com/castai", registry)(string(text)))
			if err := os.WriteFile(dir+"/kustomization.yaml", []byte(edited), 0o644); err != nil {
				t.Fatal(err)
			}
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
			if err != nil {
				t.Fatal(err)
			}
			want, err := built.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			tc.o.Rules = rules(t, rewrite.Config{})
			if diff := cmp.Diff(string(want), render(t, tc.o)); diff != "" {
				t.Errorf("-tree +rendered\n%s", diff)
			}
		})
	}
}

func use(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }

func TestTheRegistryReachesConfigConditionsAndImage(t *testing.T) {
	out := render(t, Options{Rules: rules(t, rewrite.Config{})})
	for _, want := range []string{
		`registry: "` + registry + `"`,
		`image: ` + registry + `/privatelink-webhook:v`,
		`["` + registry + `"].exists(registry,`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the bundle lacks %q", want)
		}
	}
	if n := strings.Count(out, `["`+registry+`"].exists(registry,`); n != 2 {
		t.Errorf("%d conditions name the registry, want 2", n)
	}
	for _, leftover := range []string{"REGISTRY", "privatelink-registry", "caBundle", "ACCOUNT"} {
		if strings.Contains(out, leftover) {
			t.Errorf("the bundle still has %q", leftover)
		}
	}
}
