// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
)

const (
	registry = "registry.example.com/castai"
	agent    = "ghcr.io/castai/images/agent:v1"
)

func rules(t *testing.T) *rewrite.Rules {
	t.Helper()
	r, err := rewrite.New(rewrite.Config{Registry: registry, Keep: []string{"quay.io/kept"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func pod(image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: %q}]}\n", image)
}

// recordWarnings makes the sources append their warnings to the result.
func recordWarnings(s *selection.Sources) *[]string {
	var warnings []string
	s.Warnf = func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	return &warnings
}

// cluster starts an API server with no objects, and returns its kubeconfig. Unless
// it allows lists, it refuses every request.
func cluster(t *testing.T, allowed bool) kubeconfig.Options {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !allowed {
			http.Error(w, "no route to etcd", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"items":[]}`)
	}))
	t.Cleanup(s.Close)
	return kubeconfig.Options{File: write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"`+s.URL+`"}}],"users":[{"name":"u","user":{}}]}`)}
}

func TestIsEmpty(t *testing.T) {
	for name, tc := range map[string]struct {
		sources selection.Sources
		want    bool
	}{
		"nothing":                {selection.Sources{}, true},
		"values without a chart": {selection.Sources{Chart: chart.Options{Values: []string{"v.yaml"}}}, true},
		"a set":                  {selection.Sources{Sets: []string{"phase1"}}, false},
		"a file":                 {selection.Sources{Files: []string{"-"}}, false},
		"a chart":                {selection.Sources{Chart: chart.Options{Chart: "castai-agent"}}, false},
		"a cluster":              {selection.Sources{Cluster: true}, false},
	} {
		if got := tc.sources.IsEmpty(); got != tc.want {
			t.Errorf("%s: IsEmpty() = %v, want %v", name, got, tc.want)
		}
	}
}

func TestImagesCombinesSources(t *testing.T) {
	s := selection.Sources{
		Sets: []string{"phase1"}, Files: []string{write(t, "pod.yaml", pod(agent)), "-"}, Stdin: strings.NewReader(pod("quay.io/acme/stdin:v1")),
		Chart:   chart.Options{Chart: filepath.Join("..", "catalog", "chart", "testdata", "agent")},
		Cluster: true, Kubeconfig: cluster(t, true),
	}
	warnings := recordWarnings(&s)
	images, err := s.Images(t.Context(), rules(t))
	if err != nil {
		t.Fatal(err)
	}
	found := map[catalog.From]bool{}
	for _, i := range images {
		for _, o := range i.Origins {
			found[o.From] = true
		}
	}
	for _, from := range []catalog.From{catalog.Embedded, catalog.Manifest, catalog.Chart, catalog.Bundle} {
		if !found[from] {
			t.Errorf("no image comes from %s", from)
		}
	}
	if !slices.ContainsFunc(images, func(e catalog.Entry) bool { return e.Source == "quay.io/acme/stdin:v1" }) {
		t.Error("the image of standard input is missing")
	}
	want := []string{
		"chart agent 1.2.0: subcharts that its values disable are not included: gpu",
		"the cluster has no workload, Helm release or pod in castai-agent",
	}
	if !slices.EqualFunc(*warnings, want, strings.HasPrefix) {
		t.Errorf("warnings %q, want %q", *warnings, want)
	}
}

func TestAManifestWithoutImagesIsAWarning(t *testing.T) {
	s := selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader("kind: ConfigMap\n")}
	warnings := recordWarnings(&s)
	images, err := s.Images(t.Context(), rules(t))
	if err != nil || len(images) != 1 || images[0].Copy || !strings.HasPrefix(images[0].Target, registry+"/privatelink-webhook:") {
		t.Errorf("want the webhook's image alone, got %+v, error %v", images, err)
	}
	if len(*warnings) != 1 || (*warnings)[0] != "standard input names no image" {
		t.Errorf("warnings %q", *warnings)
	}
}

func TestImagesErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, tc := range map[string]struct {
		sources selection.Sources
		code    int
		want    string
	}{
		"no source":                {selection.Sources{}, exitcode.Usage, "one or more of --set NAME (phase1, "},
		"an unknown set":           {selection.Sources{Sets: []string{"phase1", "phase9"}}, exitcode.Usage, "--set: "},
		"standard input twice":     {selection.Sources{Files: []string{"-", "a.yaml", "-"}}, exitcode.Usage, "can be read once"},
		"values without a chart":   {selection.Sources{Sets: []string{"phase1"}, Chart: chart.Options{Values: []string{"v.yaml"}}}, exitcode.Usage, "name it with --chart"},
		"a version without one":    {selection.Sources{Chart: chart.Options{Version: "1.0.0"}}, exitcode.Usage, "name it with --chart"},
		"a file that is missing":   {selection.Sources{Files: []string{missing}}, exitcode.Failed, "-f: open " + missing},
		"a file that is not YAML":  {selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader("a: [")}, exitcode.Failed, "standard input:1: not YAML"},
		"a chart that is missing":  {selection.Sources{Chart: chart.Options{Chart: "./" + filepath.Base(missing)}}, exitcode.Failed, "--chart: "},
		"no kubeconfig":            {selection.Sources{Cluster: true, Kubeconfig: kubeconfig.Options{File: missing}}, exitcode.Usage, "see --kubeconfig and --context"},
		"a cluster without access": {selection.Sources{Cluster: true, Kubeconfig: cluster(t, false)}, exitcode.Failed, "--cluster: "},
	} {
		t.Run(name, func(t *testing.T) {
			warnings := recordWarnings(&tc.sources)
			images, err := tc.sources.Images(t.Context(), rules(t))
			if exitcode.Code(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("exit code %d, want %d; error %v, want %q", exitcode.Code(err), tc.code, err, tc.want)
			}
			if images != nil || *warnings != nil {
				t.Errorf("images %v, warnings %q", images, *warnings)
			}
		})
	}
}
