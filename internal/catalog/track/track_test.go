// SPDX-License-Identifier: Apache-2.0

package track_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/catalog/track"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// A repository of charts that counts the requests for its files.
type repository struct {
	*httptest.Server
	mu       sync.Mutex
	index    string
	etag     string
	archives map[string][]byte
	requests []string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	r := &repository{archives: map[string][]byte{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *repository) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.TrimPrefix(q.URL.Path, "/charts/")
	r.requests = append(r.requests, name)
	switch data, ok := r.archives[name]; {
	case name == "index.yaml" && r.etag != "" && q.Header.Get("If-None-Match") == r.etag:
		w.WriteHeader(http.StatusNotModified)
	case name == "index.yaml":
		if r.etag != "" {
			w.Header().Set("ETag", r.etag)
		}
		_, _ = w.Write([]byte(r.index))
	case ok:
		_, _ = w.Write(data)
	default:
		http.NotFound(w, q)
	}
}

// taken returns the requests since the last call.
func (r *repository) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.requests
	r.requests = nil
	return all
}

// A version of a chart with one template.
type version struct{ chart, version, values, template, extra string }

const agent = `apiVersion: v1
kind: Pod
metadata: {name: agent}
spec: {containers: [{name: a, image: "ghcr.io/castai/images/{{ .Chart.Name }}:v{{ .Chart.Version }}"}]}
`

// publish adds versions in the order of the arguments.
func (r *repository) publish(t *testing.T, versions ...version) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	byChart := map[string]string{}
	for _, v := range versions {
		data := v.archive(t)
		name := v.chart + "-" + v.version + ".tgz"
		r.archives[name] = data
		byChart[v.chart] += fmt.Sprintf("  - version: %s\n    urls: [%s]\n    digest: %x\n%s", v.version, name, sha256.Sum256(data), v.extra)
	}
	r.index = "apiVersion: v1\nentries:\n"
	for _, c := range slices.Sorted(maps.Keys(byChart)) {
		r.index += "  " + c + ":\n" + byChart[c]
	}
}

func (v version) archive(t *testing.T) []byte {
	t.Helper()
	template := v.template
	if template == "" {
		template = agent
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	files := map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: " + v.chart + "\nversion: " + v.version + "\n", "values.yaml": v.values, "templates/pod.yaml": template,
	}
	for _, name := range slices.Sorted(maps.Keys(files)) { // equal charts are equal archives
		if err := w.WriteHeader(&tar.Header{Name: v.chart + "/" + name, Size: int64(len(files[name])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// run tracks with the configuration, and returns the images without their registry.
func (r *repository) run(t *testing.T, cache, config string) (images []string, warnings string, failures []error, err error) {
	t.Helper()
	images, warnings, added, err := r.runSince(t, cache, config, nil)
	return images, warnings, added.Failures, err
}

func (r *repository) runSince(t *testing.T, cache, config string, since map[string]string) (images []string, warnings string, added track.Added, err error) {
	t.Helper()
	rules, err := rewrite.Load("f", []byte("registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai\ntrack:\n  repository: "+r.URL+"/charts\n"+config))
	if err != nil {
		t.Fatal(err)
	}
	list := catalog.New(rules)
	var b strings.Builder
	tracker := track.Tracker{
		Rules: rules, Charts: []string{"agent", "no-chart"}, Since: since,
		Warnf: func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) },
	}
	tracker.Cache = chart.NewCache(cache, tracker.Warnf)
	added, err = tracker.Add(t.Context(), list)
	for _, i := range list.Images() {
		images = append(images, strings.TrimPrefix(i.Target, rules.Registry()+"/"))
	}
	return images, b.String(), added, err
}

// A release that others follow before the next run may be in use meanwhile.
func TestVersionsThatAppearedSinceTheLastRun(t *testing.T) {
	versions := func(all ...string) (v []version) {
		for _, n := range all {
			v = append(v, version{chart: "agent", version: n})
		}
		return v
	}
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("2.%d.0", i))
	}
	for name, tc := range map[string]struct {
		versions []version
		since    string
		images   []string // or their number
		number   int
		newest   string
		warning  string
	}{
		"the first run":               {versions("1.0.0", "1.1.0"), "", []string{"agent:v1.1.0"}, 1, "1.1.0", ""},
		"no news":                     {versions("1.0.0", "1.1.0"), "1.1.0", []string{"agent:v1.1.0"}, 1, "1.1.0", ""},
		"three":                       {versions("1.3.0", "1.0.0", "1.10.0", "1.1.0", "1.2.0"), "1.1.0", []string{"agent:v1.10.0", "agent:v1.2.0", "agent:v1.3.0"}, 3, "1.10.0", ""},
		"a pre-release":               {versions("1.0.0", "1.1.0-rc.1", "1.2.0"), "1.0.0", []string{"agent:v1.2.0"}, 1, "1.2.0", ""},
		"the last was yanked":         {versions("1.0.0", "1.2.0", "1.3.0"), "1.1.0", []string{"agent:v1.2.0", "agent:v1.3.0"}, 2, "1.3.0", ""},
		"the repository went back":    {versions("1.0.0", "1.1.0"), "1.7.0", []string{"agent:v1.1.0"}, 1, "1.1.0", ""},
		"a patch of an older version": {versions("1.0.1", "1.1.0"), "1.1.0", []string{"agent:v1.1.0"}, 1, "1.1.0", ""},
		"too many":                    {versions(many...), "1.0.0", nil, 50, "2.59.0", "60 versions have appeared since 1.0.0, of which the newest 50 are mirrored"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.publish(t, tc.versions...)
			images, warnings, added, err := r.runSince(t, "", "  newest: 1\n", map[string]string{"agent": tc.since})
			if err != nil || len(images) != tc.number || tc.images != nil && !slices.Equal(images, tc.images) || added.Newest["agent"] != tc.newest {
				t.Errorf("%v, %v, %v", images, added, err)
			}
			if tc.warning != "" && !strings.Contains(warnings, tc.warning) {
				t.Errorf("warnings %s", warnings)
			}
		})
	}
}

// A version whose archive was not there is tried again by the next run, and one that does
// not render is not.
func TestAVersionThatWasNotReadIsNotPassedOver(t *testing.T) {
	r := newRepository(t)
	r.publish(t, version{chart: "agent", version: "1.0.0"}, version{chart: "agent", version: "1.1.0"}, version{chart: "agent", version: "1.2.0"})
	archive := r.archives["agent-1.1.0.tgz"]
	delete(r.archives, "agent-1.1.0.tgz")
	cache, since := t.TempDir(), map[string]string{"agent": "1.0.0"}
	for _, there := range []bool{false, true} {
		want, newest, failed := []string{"agent:v1.2.0"}, "1.0.0", 1
		if there {
			r.archives["agent-1.1.0.tgz"] = archive
			want, newest, failed = []string{"agent:v1.1.0", "agent:v1.2.0"}, "1.2.0", 0
		}
		images, _, added, err := r.runSince(t, cache, "  newest: 1\n", since)
		if err != nil || !slices.Equal(images, want) || added.Newest["agent"] != newest || len(added.Failures) != failed {
			t.Errorf("%v, %v, %v; want %v, %s", images, added, err, want, newest)
		}
		since = added.Newest
	}
}

func TestTheNewestVersionsByPrecedence(t *testing.T) {
	r := newRepository(t)
	r.publish(t,
		version{chart: "agent", version: "0.9.0"}, version{chart: "agent", version: "0.19.0"}, version{chart: "agent", version: "1.0.0-rc.9"},
		version{chart: "agent", version: "1.0.0-rc.10"}, version{chart: "agent", version: "0.10.0"}, version{chart: "agent", version: "canary"})
	for config, want := range map[string][]string{
		"  newest: 2\n":                      {"agent:v0.10.0", "agent:v0.19.0"},
		"  newest: 1\n  prereleases: true\n": {"agent:v1.0.0-rc.10"},
		"  prereleases: false\n":             {"agent:v0.10.0", "agent:v0.19.0", "agent:v0.9.0"},
	} {
		images, warnings, failures, err := r.run(t, "", config)
		if err != nil || len(failures) > 0 || !slices.Equal(images, want) {
			t.Errorf("%q: %v, %v, %v; want %v", config, images, failures, err, want)
		}
		if !strings.Contains(warnings, `chart agent "canary" does not count`) || !strings.Contains(warnings, "no chart no-chart") {
			t.Errorf("warnings %s", warnings)
		}
	}
}

func TestNothingNewCostsOneRequest(t *testing.T) {
	for name, etag := range map[string]string{"an entity tag": `"1"`, "a weak one": `W/"1"`, "none": ""} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.etag = etag
			r.publish(t, version{chart: "agent", version: "1.0.0"}, version{chart: "agent", version: "1.1.0"})
			cache := t.TempDir()
			first, _, _, err := r.run(t, cache, "")
			if err != nil || len(r.taken()) != 3 {
				t.Fatal(first, err)
			}
			again, _, _, err := r.run(t, cache, "")
			if requests := r.taken(); err != nil || !slices.Equal(again, first) || !slices.Equal(requests, []string{"index.yaml"}) {
				t.Errorf("%v after %v, requests %v, %v", again, first, requests, err)
			}
			r.etag = strings.Replace(etag, "1", "2", 1)
			r.publish(t, version{chart: "agent", version: "1.0.0"}, version{chart: "agent", version: "1.1.0"}, version{chart: "agent", version: "1.2.0"})
			if _, _, _, err := r.run(t, cache, ""); err != nil {
				t.Fatal(err)
			}
			if requests := r.taken(); !slices.Equal(requests, []string{"index.yaml", "agent-1.2.0.tgz"}) {
				t.Errorf("requests %v", requests)
			}
		})
	}
}

func TestADamagedCacheIsRepaired(t *testing.T) {
	r := newRepository(t)
	r.etag = `"1"`
	r.publish(t, version{chart: "agent", version: "1.0.0"})
	cache := t.TempDir()
	want, _, _, err := r.run(t, cache, "")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(cache)
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.WriteFile(cache+"/"+f.Name(), []byte(`{"Manifests":`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, _, err := r.run(t, cache, ""); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// The home may be read-only, or the disk full.
func TestACacheThatCannotBeWrittenIsNotNeeded(t *testing.T) {
	r := newRepository(t)
	r.publish(t, version{chart: "agent", version: "1.0.0"}, version{chart: "agent", version: "2.0.0"})
	r.index = strings.Replace(r.index, "digest:", "other:", 1) // the digest of this version is kept in a file of its own
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	images, warnings, failures, err := r.run(t, filepath.Join(file, "charts"), "")
	if err != nil || len(failures) > 0 || !slices.Equal(images, []string{"agent:v1.0.0", "agent:v2.0.0"}) {
		t.Errorf("%v, %v, %v", images, failures, err)
	}
	if strings.Count(warnings, "cache: ") != 1 || !strings.Contains(warnings, file) {
		t.Errorf("warnings:\n%s", warnings)
	}
}

func TestVersionsWithoutADigestAreNotMixedUp(t *testing.T) {
	r := newRepository(t)
	r.publish(t, version{chart: "agent", version: "1.0.0"}, version{chart: "agent", version: "2.0.0"})
	for line := range strings.Lines(r.index) {
		if strings.Contains(line, "digest") {
			r.index = strings.Replace(r.index, line, "    digest: ''\n", 1)
		}
	}
	cache := t.TempDir()
	for range 2 {
		if images, _, _, err := r.run(t, cache, ""); err != nil || !slices.Equal(images, []string{"agent:v1.0.0", "agent:v2.0.0"}) {
			t.Errorf("%v, %v", images, err)
		}
	}
	if requests := r.taken(); len(requests) != 4 { // twice the index
		t.Errorf("requests %v", requests)
	}
}

func TestOneVersionsTroubleIsItsOwn(t *testing.T) {
	r := newRepository(t)
	r.publish(t,
		version{chart: "agent", version: "1.0.0"},
		version{chart: "agent", version: "1.1.0", template: `{{ fail "no" }}`},
		version{chart: "agent", version: "1.2.0", template: "kind: ConfigMap\n"},
	)
	r.archives["agent-1.3.0.tgz"] = nil
	r.index += "  - version: 1.3.0\n    urls: [agent-1.3.0.tgz]\n    digest: '" + strings.Repeat("0", 64) + "'\n"
	images, _, failures, err := r.run(t, t.TempDir(), "  newest: 4\n")
	if err != nil || !slices.Equal(images, []string{"agent:v1.0.0"}) || len(failures) != 3 {
		t.Fatalf("%v, %v, %v", images, failures, err)
	}
	for i, want := range []string{"chart agent 1.3.0: ", "chart agent 1.2.0: it renders no image", "chart agent 1.1.0: "} {
		if !strings.Contains(failures[i].Error(), want) {
			t.Errorf("%v, want %s", failures[i], want)
		}
	}
}

func TestIndexesThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ index, config, want string }{
		"an empty file":            {"", "", "lists no chart"},
		"no entries":               {"apiVersion: v1\nentries: {}\n", "", "lists no chart"},
		"a page of HTML":           {"<html><body>Sign in</body></html>", "", "index.yaml"},
		"a chart that is gone":     {"entries:\n  other:\n  - {version: 1.0.0, urls: [x.tgz]}\n", "  charts: [agent]\n", `it has no chart "agent", only other`},
		"none of the default ones": {"entries:\n  other:\n  - {version: 1.0.0, urls: [x.tgz]}\n", "", "has none of the charts agent, no-chart"},
		"only invalid versions":    {"entries:\n  agent:\n  - {version: x, urls: [x.tgz]}\n  -\n", "", "lists no chart"},
		"only pre-releases":        {"entries:\n  agent:\n  - {version: 1.0.0-a, urls: [x.tgz]}\n", "", "only pre-releases: set track.prereleases"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			r.index = tc.index
			if images, _, _, err := r.run(t, "", tc.config); err == nil || !strings.Contains(err.Error(), tc.want) || len(images) > 0 {
				t.Errorf("%v, %v", images, err)
			}
		})
	}
}

func TestAVersionListedTwice(t *testing.T) {
	r := newRepository(t)
	r.publish(t, version{chart: "agent", version: "1.0.0"}, version{chart: "agent", version: "0.9.0"})
	r.index += "  - version: 1.0.0\n    urls: [other.tgz]\n    digest: '" + strings.Repeat("0", 64) + "'\n"
	images, warnings, failures, err := r.run(t, "", "  newest: 2\n")
	if err != nil || len(failures) > 0 || !slices.Equal(images, []string{"agent:v0.9.0", "agent:v1.0.0"}) || !strings.Contains(warnings, "listed twice") {
		t.Errorf("%v, %s, %v, %v", images, warnings, failures, err)
	}
}

const switchable = `{{- if .Values.a.enabled }}
{{- if .Values.b.bEnabled }}{{ if .Values.exclusive }}{{ fail "a and b exclude each other" }}{{ end }}{{ end }}
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {containers: [{name: a, image: "ghcr.io/castai/images/a:{{ .Chart.Version }}"}]}
{{- end }}
---
{{- if .Values.b.bEnabled }}
apiVersion: v1
kind: Pod
metadata: {name: b}
spec: {containers: [{name: a, image: "ghcr.io/castai/images/b:{{ .Chart.Version }}"}]}
{{- end }}
---
{{- if .Capabilities.APIVersions.Has "example.com/v1" }}
apiVersion: v1
kind: Pod
metadata: {name: c, annotations: {key: {{ required "give a key" .Values.key }}}}
spec: {containers: [{name: a, image: "ghcr.io/castai/images/c:{{ .Chart.Version }}"}]}
{{- end }}
`

func TestEverythingIsOn(t *testing.T) {
	values := "a: {enabled: false}\nb: {bEnabled: false}\n"
	for name, tc := range map[string]struct {
		values, config string
		want           []string
		failure        string
	}{
		"at once":                     {values, "", []string{"a:1.0.0", "b:1.0.0", "c:1.0.0"}, ""},
		"switches that exclude":       {values + "exclusive: true\n", "", []string{"a:1.0.0", "b:1.0.0", "c:1.0.0"}, "not everything can be on at once"},
		"values of the user's":        {values, "  values: {agent: {a: {enabled: true}, key: x}}\n", []string{"a:1.0.0", "c:1.0.0"}, ""},
		"a switch that never renders": {values + "exclusive: true\nz: {enabled: false}\n", "", []string{"a:1.0.0", "b:1.0.0", "c:1.0.0"}, "z.enabled=true: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			template := switchable
			if strings.Contains(tc.values, "z:") {
				template += `{{ if .Values.z.enabled }}{{ fail "never" }}{{ end }}`
			}
			r.publish(t, version{chart: "agent", version: "1.0.0", values: tc.values, template: template})
			images, _, failures, err := r.run(t, "", tc.config)
			if err != nil || !slices.Equal(images, tc.want) {
				t.Errorf("%v, %v; want %v", images, err, tc.want)
			}
			if text := fmt.Sprint(failures); (tc.failure == "") != (len(failures) == 0) || !strings.Contains(text, tc.failure) {
				t.Errorf("failures %v, want %q", failures, tc.failure)
			}
		})
	}
}

func TestAnImageThatDependsOnAValueIsNotGuessed(t *testing.T) {
	r := newRepository(t)
	r.publish(t, version{chart: "agent", version: "1.0.0", template: agent + "---\n" + strings.Replace(agent, "v{{ .Chart.Version }}", `{{ required "tag" .Values.tag }}`, 1)})
	images, _, failures, err := r.run(t, "", "")
	if err != nil || !slices.Equal(images, []string{"agent:v1.0.0"}) || !strings.Contains(fmt.Sprint(failures), "depends on a value that the chart requires: give values in track.values.agent") {
		t.Errorf("%v, %v, %v", images, failures, err)
	}
}

func TestTheNextVersionsHaveTheValuesOfTheRelease(t *testing.T) {
	r := newRepository(t)
	template := strings.Replace(agent, "{{ .Chart.Name }}", "{{ .Values.name }}", 1) + "---\n{{ if .Values.more.enabled }}" + agent + "{{ end }}"
	values := "name: standard\nmore: {enabled: false}\n"
	r.publish(t, version{chart: "agent", version: "0.9.0", values: values, template: template}, version{chart: "agent", version: "1.0.0", values: values, template: template},
		version{chart: "agent", version: "1.1.0", values: values, template: template}, version{chart: "agent", version: "1.2.0", values: values, template: `{{ fail "no" }}`})
	rules, err := rewrite.Load("f", []byte("registry: 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai\ntrack: {repository: '"+r.URL+"/charts'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		release            live.Release
		want               []string
		versions, failures int
	}{
		"values":               {live.Release{Namespace: "ns", Name: "r", Chart: "agent", Version: "1.0.0", Values: map[string]any{"name": "secret"}}, []string{"secret:v1.1.0"}, 2, 1},
		"defaults":             {live.Release{Namespace: "ns", Name: "r", Chart: "agent", Version: "1.0.0"}, []string{"standard:v1.1.0"}, 2, 1},
		"the newest":           {live.Release{Namespace: "ns", Name: "r", Chart: "agent", Version: "1.2.0"}, nil, 0, 0},
		"another repository's": {live.Release{Namespace: "ns", Name: "r", Chart: "other", Version: "1.2.0"}, nil, 0, 0},
		"no version":           {live.Release{Namespace: "ns", Name: "r", Chart: "agent", Version: "x"}, nil, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			list, cache := catalog.New(rules), t.TempDir()
			tracker := track.Tracker{Rules: rules, Cache: chart.Cache{Dir: cache}, Warnf: t.Logf}
			versions, failures, err := tracker.AddAhead(t.Context(), list, []live.Release{tc.release})
			var images []string
			for _, i := range list.Images() {
				images = append(images, strings.TrimPrefix(i.Target, rules.Registry()+"/"))
			}
			if err != nil || versions != tc.versions || len(failures) != tc.failures || !slices.Equal(images, tc.want) {
				t.Errorf("%v, %d versions, %v, %v; want %v", images, versions, failures, err, tc.want)
			}
		})
	}
}
