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
	"github.com/castai/privatelink-webhook/internal/webhookimage"
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

// cluster starts an API server with a pod of each image, and returns its kubeconfig.
// Unless it allows lists, it refuses every request.
func cluster(t *testing.T, allowed bool, images ...string) kubeconfig.Options {
	t.Helper()
	var pods []string
	for _, image := range images {
		pods = append(pods, fmt.Sprintf(`{"metadata":{"name":"p","namespace":"castai-agent"},"spec":{"containers":[{"name":"c","image":%q}]}}`, image))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allowed {
			http.Error(w, "no route to etcd", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/pods") {
			fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(pods, ","))
			return
		}
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
		"values without a chart": {selection.Sources{ChartOptions: chart.Options{Values: []string{"v.yaml"}}}, true},
		"a set":                  {selection.Sources{Sets: []string{"phase1"}}, false},
		"a file":                 {selection.Sources{Files: []string{"-"}}, false},
		"a chart":                {selection.Sources{Charts: []string{"castai-agent"}}, false},
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
		Charts:  []string{filepath.Join("..", "catalog", "chart", "testdata", "agent")},
		Cluster: true, Kubeconfig: cluster(t, true, "quay.io/acme/pod:v1"), Webhook: webhookimage.Repository,
	}
	warnings := recordWarnings(&s)
	images, _, err := s.Images(t.Context(), rules(t))
	if err != nil {
		t.Fatal(err)
	}
	found := map[catalog.From]bool{}
	for _, i := range images {
		for _, o := range i.Origins {
			found[o.From] = true
		}
	}
	for _, from := range []catalog.From{catalog.Embedded, catalog.Manifest, catalog.Chart, catalog.Pod, catalog.Bundle} {
		if !found[from] {
			t.Errorf("no image comes from %s", from)
		}
	}
	if !slices.ContainsFunc(images, func(e catalog.Entry) bool { return e.Source == "quay.io/acme/stdin:v1" }) {
		t.Error("the image of standard input is missing")
	}
	want := []string{"chart agent 1.2.0: gpu is off: set gpu.enabled=true"}
	if !slices.EqualFunc(*warnings, want, strings.HasPrefix) {
		t.Errorf("warnings %q, want %q", *warnings, want)
	}
}

func TestASourceWithoutImagesIsAnError(t *testing.T) {
	filled, empty := write(t, "pod.yaml", pod(agent)), write(t, "rbac.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n")
	nothing := write(t, "nothing.yaml", "")
	for name, tc := range map[string]struct {
		sources selection.Sources
		want    []string
	}{
		"standard input that is empty":   {selection.Sources{Files: []string{"-"}}, []string{"-f -: standard input names no image"}},
		"standard input without a pod":   {selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader("apiVersion: v1\nkind: List\nitems: []\n")}, []string{"-f -: standard input names no image"}},
		"two of three files":             {selection.Sources{Files: []string{empty, filled, nothing}}, []string{"-f " + empty + ": the file names no image", "-f " + nothing + ": the file names no image"}},
		"a file in addition to a set":    {selection.Sources{Sets: []string{"phase1"}, Files: []string{nothing}}, []string{"-f " + nothing}},
		"a cluster without workloads":    {selection.Sources{Cluster: true, Kubeconfig: cluster(t, true)}, []string{"--cluster: no workload, Helm release or pod in castai-agent names an image"}},
		"a cluster in addition to a set": {selection.Sources{Sets: []string{"phase1"}, Cluster: true, Kubeconfig: cluster(t, true)}, []string{"--cluster: no workload"}},
		"everything at once":             {selection.Sources{Files: []string{nothing}, Cluster: true, Kubeconfig: cluster(t, true)}, []string{"-f " + nothing, "--cluster: no workload"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.sources.Stdin == nil {
				tc.sources.Stdin = strings.NewReader("")
			}
			recordWarnings(&tc.sources)
			images, _, err := tc.sources.Images(t.Context(), rules(t))
			if exitcode.Code(err) != exitcode.Failed || images != nil {
				t.Errorf("exit code %d, images %+v", exitcode.Code(err), images)
			}
			for _, want := range tc.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != len(tc.want) {
				t.Errorf("%d errors, want %d: %v", n, len(tc.want), err)
			}
		})
	}
}

func TestAListWithoutAnImageToCopyIsAnError(t *testing.T) {
	s := selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader(pod(registry + "/agent:v1"))}
	recordWarnings(&s)
	_, err := s.Jobs(t.Context(), rules(t), selection.LockFile{Name: filepath.Join(t.TempDir(), "none")})
	if exitcode.Code(err) != exitcode.Usage || !strings.Contains(fmt.Sprint(err), "none of the images has to be copied") {
		t.Errorf("exit code %d, error %v", exitcode.Code(err), err)
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
		"values without a chart":   {selection.Sources{Sets: []string{"phase1"}, ChartOptions: chart.Options{Values: []string{"v.yaml"}}}, exitcode.Usage, "name it with --chart"},
		"a cluster without one":    {selection.Sources{Sets: []string{"phase1"}, ChartOptions: chart.Options{KubeVersion: "1.33"}}, exitcode.Usage, "name it with --chart"},
		"a version without one":    {selection.Sources{ChartOptions: chart.Options{Version: "1.0.0"}}, exitcode.Usage, "name it with --chart"},
		"a file that is missing":   {selection.Sources{Files: []string{missing}}, exitcode.Failed, "-f: open " + missing},
		"a file that is not YAML":  {selection.Sources{Files: []string{"-"}, Stdin: strings.NewReader("a: [")}, exitcode.Failed, "standard input:1: not YAML"},
		"a chart that is missing":  {selection.Sources{Charts: []string{"./" + filepath.Base(missing)}}, exitcode.Failed, "--chart ./none: "},
		"no kubeconfig":            {selection.Sources{Cluster: true, Kubeconfig: kubeconfig.Options{File: missing}}, exitcode.Usage, "see --kubeconfig and --context"},
		"a cluster without access": {selection.Sources{Cluster: true, Kubeconfig: cluster(t, false)}, exitcode.Failed, "--cluster: "},
	} {
		t.Run(name, func(t *testing.T) {
			warnings := recordWarnings(&tc.sources)
			images, _, err := tc.sources.Images(t.Context(), rules(t))
			if exitcode.Code(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("exit code %d, want %d; error %v, want %q", exitcode.Code(err), tc.code, err, tc.want)
			}
			if images != nil || *warnings != nil {
				t.Errorf("images %v, warnings %q", images, *warnings)
			}
		})
	}
}

// charts writes two charts with a pod each, and one without any.
func charts(t *testing.T) (one, two, none string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"one", "two", "none"} {
		template := ""
		if name != "none" {
			template = pod("ghcr.io/castai/images/" + name + ":{{ .Values.tag | default .Chart.Version }}")
		}
		for file, text := range map[string]string{"Chart.yaml": "apiVersion: v2\nname: " + name + "\nversion: 1.0.0\n", "templates/pod.yaml": template} {
			file = filepath.Join(dir, name, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "none")
}

// Repeating a flag must not drop the first value: https://github.com/kumahq/kuma/issues/9245.
func TestAllChartsAreRenderedWithTheSameValues(t *testing.T) {
	one, two, _ := charts(t)
	for name, tc := range map[string]struct {
		sources selection.Sources
		want    []string
	}{
		"without values":      {selection.Sources{Charts: []string{one, two}}, []string{"one:1.0.0", "two:1.0.0"}},
		"with values":         {selection.Sources{Charts: []string{one, two}, ChartOptions: chart.Options{Set: []string{"tag=v2"}}}, []string{"one:v2", "two:v2"}},
		"values on stdin":     {selection.Sources{Charts: []string{one}, ChartOptions: chart.Options{Values: []string{"-"}}, Stdin: strings.NewReader("tag: v3\n")}, []string{"one:v3"}},
		"a version of a path": {selection.Sources{Charts: []string{one}, ChartOptions: chart.Options{Version: "1.x"}}, []string{"one:1.0.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			images, _, err := tc.sources.Images(t.Context(), rules(t))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range images {
				if i.Copy {
					got = append(got, strings.TrimPrefix(i.Source, "ghcr.io/castai/images/"))
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("images %q, want %q", got, tc.want)
			}
		})
	}
}

func TestErrorsOfCharts(t *testing.T) {
	one, two, none := charts(t)
	values := chart.Options{Values: []string{"-"}}
	for name, tc := range map[string]struct {
		sources selection.Sources
		code    int
		want    string
	}{
		"a version for two":                {selection.Sources{Charts: []string{one, "castai"}, ChartOptions: chart.Options{Version: "1"}}, exitcode.Usage, "@VERSION"},
		"a version twice":                  {selection.Sources{Charts: []string{"castai@1"}, ChartOptions: chart.Options{Version: "1"}}, exitcode.Usage, "name the version once"},
		"an empty name":                    {selection.Sources{Charts: []string{one, ""}}, exitcode.Usage, "--chart is empty"},
		"values on stdin for two":          {selection.Sources{Charts: []string{one, two}, ChartOptions: values}, exitcode.Usage, "can be read once"},
		"values and a manifest on stdin":   {selection.Sources{Charts: []string{one}, Files: []string{"-"}, ChartOptions: values}, exitcode.Usage, "can be read once"},
		"a chart that renders no YAML":     {selection.Sources{Charts: []string{one}, ChartOptions: chart.Options{Set: []string{"tag=x\"y"}}}, exitcode.Failed, "--chart " + one},
		"a chart without images":           {selection.Sources{Charts: []string{none}}, exitcode.Failed, "none 1.0.0 renders no image: switch its components on"},
		"one of two charts without images": {selection.Sources{Charts: []string{one, none}}, exitcode.Failed, "none 1.0.0 renders no image"},
	} {
		t.Run(name, func(t *testing.T) {
			recordWarnings(&tc.sources)
			for command, run := range map[string]func() error{
				"images": func() error { _, _, err := tc.sources.Images(t.Context(), rules(t)); return err },
				"jobs": func() error {
					_, err := tc.sources.Jobs(t.Context(), rules(t), writeLock(t, registry, agentEntry))
					return err
				},
			} {
				if err := run(); exitcode.Code(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.want) {
					t.Errorf("%s: exit code %d, want %d; error %v, want %q", command, exitcode.Code(err), tc.code, err, tc.want)
				}
			}
		})
	}
}

// With a lock file, no source is needed; flags of a chart without a chart are refused
// and not ignored.
func TestValuesWithoutAChartAreRefusedForALockFile(t *testing.T) {
	s := selection.Sources{ChartOptions: chart.Options{Set: []string{"tags.full=true"}}}
	if _, err := s.Jobs(t.Context(), rules(t), writeLock(t, registry, agentEntry)); exitcode.Code(err) != exitcode.Usage {
		t.Errorf("error %v, want a usage error", err)
	}
}

func TestSetsNameComponentsThatTheCatalogDoesNotKnow(t *testing.T) {
	const want = "castai-live's images are not in the catalog: use --chart castai-live or --cluster"
	one, _, _ := charts(t)
	for name, tc := range map[string]struct {
		sources selection.Sources
		want    []string
	}{
		"once for all sets":            {selection.Sources{Sets: []string{"umbrella", "phase2"}}, []string{want}},
		"several in one line":          {selection.Sources{Sets: []string{"umbrella", "optional"}, Charts: []string{one}}, []string{"the images of castai-live, apa-agent, castai-ai-optimizer-batch-processor, castai-cluster-agent, castai-node-storage-agent, dbo-cache, gcp-disk-compatibility-webhook, oci-csi-driver, pv-monitor are not in the catalog: use --chart NAME or --cluster"}},
		"not for a set without it":     {selection.Sources{Sets: []string{"phase1"}}, nil},
		"in addition to another chart": {selection.Sources{Sets: []string{"umbrella"}, Charts: []string{one}}, []string{want}},
		"not in addition to a cluster": {selection.Sources{Sets: []string{"umbrella"}, Cluster: true, Kubeconfig: cluster(t, true)}, nil}, // which is empty, an error
	} {
		t.Run(name, func(t *testing.T) {
			warnings := recordWarnings(&tc.sources)
			_, _, err := tc.sources.Images(t.Context(), rules(t))
			if (err != nil) != tc.sources.Cluster || !slices.Equal(*warnings, tc.want) {
				t.Errorf("warnings %q, want %q; error %v", *warnings, tc.want, err)
			}
		})
	}
}

func TestAFolderOfManifestsIsReadAndItsOtherImagesAreNamed(t *testing.T) {
	folder := filepath.Dir(write(t, "pod.yaml", pod(agent)))
	operator := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {sidecar: 'quay.io/acme/sidecar:1'}\n---\n" +
		"apiVersion: v1\nkind: Pod\nmetadata: {name: q}\nspec: {containers: [{image: busybox, env: [{name: SCANNERS_IMAGE, value: v1}]}]}\n"
	if err := os.WriteFile(filepath.Join(folder, "operator.yaml"), []byte(operator), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "service.yml"), []byte("apiVersion: v1\nkind: Service\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := selection.Sources{Files: []string{folder}}
	warnings := recordWarnings(&s)
	images, _, err := s.Images(t.Context(), rules(t))
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, i := range images {
		if i.Copy {
			sources = append(sources, i.Source)
		}
	}
	if want := []string{agent, "docker.io/library/busybox"}; !slices.Equal(sources, want) {
		t.Errorf("images %q, want %q", sources, want)
	}
	file := filepath.Join(folder, "operator.yaml")
	want := []string{
		file + `: Pod q: SCANNERS_IMAGE is "v1", which names no registry and is not listed`,
		file + ": 1 other value looks like a public image: ConfigMap c /data/sidecar quay.io/acme/sidecar:1",
	}
	if !slices.EqualFunc(*warnings, want, strings.HasPrefix) {
		t.Errorf("warnings %q, want %q", *warnings, want)
	}
}

// privateImage is a list with an image that is private already.
func privateImage(t *testing.T) []catalog.Entry {
	t.Helper()
	list := catalog.New(rules(t))
	list.Add(registry+"/unknown/x:1", catalog.Origin{From: catalog.Pod, Name: "castai-agent"})
	return list.Images()
}
