// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.podman.io/image/v5/docker/reference"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
)

// listed are the variables whose values are images, by default.
var listed = []string{"JMX_EXPORTER_INIT_IMAGE", "SCANNERS_IMAGE"}

// The images of a chart are those that a walk of Helm's own rendering finds: by
// `helm template`, down to the last map, and without our packages.
func TestImagesOfChartsAreThoseOfHelmsRendering(t *testing.T) {
	for name, tc := range map[string]struct {
		chart string
		sets  []string
	}{
		"workloads": {"workloads", []string{
			"", "image.tag=v9", "sidecar.enabled=true", "jmx.enabled=false", "model.enabled=true", "replicas=3",
			"global.registry=mirror.example/castai/", "image.repository=ghcr.io/castai/images/agent,jmx.image=quay.io/acme/jmx:1",
		}},
		"an umbrella": {"umbrella", []string{
			"tags.readonly=true", "tags.full=true", "tags.full=true,global.registry=mirror.example/castai", "kent.enabled=true", "tags.full=true,kent.enabled=true",
			"tags.full=true,autoscaler.agent.enabled=false", "tags.readonly=true,autoscaler.second.enabled=true", "tags.full=true,global.agent.enabled=false",
			"tags.full=true,autoscaler.evictor.image=quay.io/acme/evictor:9", "", "tags.full=false,kent.enabled=false",
		}},
		"custom resources": {"resources", []string{"", "clickhouse=false", "gateway=false", "clickhouse=false,gateway=false"}},
		"computed images":  {"computed", []string{"", "registry=ghcr.io/acme", `extra={quay.io/acme/a:1,quay.io/acme/b@sha256:` + strings.Repeat("ab", 32) + `}`, "number=1234567890", "template=nginx"}},
	} {
		for _, set := range tc.sets {
			t.Run(name+" "+set, func(t *testing.T) {
				folder := filepath.Join("testdata", "charts", tc.chart)
				want := walkRendering(t, folder, set)
				if got := ours(t, folder, set); !slices.Equal(got, want) {
					t.Errorf("images\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

// ours lists the images of a chart; a chart without any is an error.
func ours(t *testing.T, folder, set string) []string {
	t.Helper()
	rules, err := rewrite.New(rewrite.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	s := selection.Sources{Charts: []string{folder}, Warnf: t.Logf}
	if set != "" {
		s.ChartOptions = chart.Options{Set: []string{set}}
	}
	entries, _, err := s.Images(t.Context(), rules)
	if err != nil && strings.Contains(err.Error(), "renders no image") {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range entries {
		if slices.ContainsFunc(e.Origins, func(o catalog.Origin) bool { return o.From == catalog.Chart }) {
			for _, source := range append(e.Also, e.Source) {
				found[source] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// walkRendering renders a chart with Helm's own install action, and finds the images.
func walkRendering(t *testing.T, folder, set string) []string {
	t.Helper()
	c, err := loader.LoadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	values, err := strvals.Parse(set)
	if err != nil {
		t.Fatal(err)
	}
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy, install.Replace, install.IncludeCRDs = action.DryRunClient, true, true
	install.ReleaseName, install.Namespace = c.Name(), "castai-agent"
	if install.KubeVersion, err = common.ParseKubeVersion("1.37"); err != nil {
		t.Fatal(err)
	}
	r, err := install.RunWithContext(t.Context(), c, values)
	if err != nil {
		t.Fatal(err)
	}
	rendered := r.(*release.Release)
	texts := strings.Split(rendered.Manifest, "\n---\n")
	for _, h := range rendered.Hooks {
		texts = append(texts, h.Manifest)
	}
	found := map[string]bool{}
	for _, text := range texts {
		var object any
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if m, ok := object.(map[string]any); ok && m["kind"] != "CustomResourceDefinition" && m["kind"] != "ConfigMap" && m["kind"] != "Secret" {
			walk(t, object, found)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// walk finds images in any map that has lists of containers or volumes.
func walk(t *testing.T, node any, found map[string]bool) {
	t.Helper()
	add := func(value any) {
		if text, ok := value.(string); ok {
			named, err := reference.ParseNormalizedNamed(text)
			if err != nil {
				t.Fatal(err)
			}
			found[named.String()] = true
		}
	}
	list := func(value any) []any { items, _ := value.([]any); return items }
	field := func(value any, name string) any { m, _ := value.(map[string]any); return m[name] }
	switch of := node.(type) {
	case map[string]any:
		for _, key := range []string{"initContainers", "containers", "ephemeralContainers"} {
			for _, c := range list(of[key]) {
				add(field(c, "image"))
				for _, e := range list(field(c, "env")) {
					if name, _ := field(e, "name").(string); slices.Contains(listed, name) {
						add(field(e, "value"))
					}
				}
			}
		}
		for _, v := range list(of["volumes"]) {
			add(field(field(v, "image"), "reference"))
		}
		add(of["containerImage"])
		for _, v := range of {
			walk(t, v, found)
		}
	case []any:
		for _, v := range of {
			walk(t, v, found)
		}
	}
}
