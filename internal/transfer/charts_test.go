// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	helmregistry "helm.sh/helm/v4/pkg/registry"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// charts is a repository of charts whose files a test may change.
type charts struct {
	url string

	mu       sync.Mutex
	entries  string // of the chart agent in index.yaml
	archives map[string][]byte
	requests []string
}

func newCharts(t *testing.T) *charts {
	t.Helper()
	c := &charts{archives: map[string][]byte{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests = append(c.requests, r.URL.Path)
		if r.URL.Path == "/index.yaml" {
			fmt.Fprint(w, "apiVersion: v1\nentries:\n  agent:\n"+c.entries)
			return
		}
		data, ok := c.archives[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// publish adds a version whose Chart.yaml says of itself what is given, and whose pod has
// an image.
func (c *charts) publish(t *testing.T, version, chartYAML, image string) (archive []byte) {
	t.Helper()
	archive = tgz(t, map[string]string{
		"agent/Chart.yaml":         chartYAML,
		"agent/templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: " + image + "}]}\n",
	})
	c.add(version, archive, fmt.Sprintf("%x", sha256.Sum256(archive)))
	return archive
}

func (c *charts) add(version string, archive []byte, digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	file := "agent-" + version + ".tgz"
	c.entries += fmt.Sprintf("  - {version: %q, urls: [%q], digest: %q}\n", version, file, digest)
	c.archives[file] = archive
}

func (c *charts) taken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Join(c.requests, " ")
	c.requests = nil
	return all
}

// tgz returns the same archive for the same files.
func tgz(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, name := range []string{"agent/Chart.yaml", "agent/templates/pod.yaml", "agent/../../outside"} {
		if files[name] == "" {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o644}); err != nil {
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

func chartYAML(version string) string {
	return "apiVersion: v2\nname: agent\nversion: " + version + "\nappVersion: 1.5\ndescription: An agent\n"
}

// chartOptions copy the charts and their images.
func (f *fixture) chartOptions(t *testing.T, c *charts) CopyOptions {
	t.Helper()
	o := CopyOptions{Options: f.options(t), Lock: f.lockFile(), Sources: selection.Sources{
		Track: true, TrackedCharts: true, TrackCache: chart.Cache{Dir: filepath.Join(f.dir, "cache")},
	}}
	o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Track: rewrite.Track{Repository: c.url, Charts: []string{"agent"}, Newest: 10}})
	o.Sources.Warnf = o.Reporter.Warnf
	return o
}

func digestOf(t *testing.T, archive []byte) string {
	t.Helper()
	a, err := chartimage.New(archive)
	if err != nil || strings.Contains(string(a.Manifest), ocispec.AnnotationCreated) {
		t.Fatal(err, string(a.Manifest))
	}
	return a.Descriptor.Digest.String()
}

// pull pulls a chart with Helm's own client.
func pull(t *testing.T, ref string) *helmregistry.PullResult {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HELM_CONFIG_HOME", t.TempDir())
	c, err := helmregistry.NewClient(helmregistry.ClientOptPlainHTTP())
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := c.Pull(ref)
	if err != nil {
		t.Fatal(err)
	}
	return pulled
}

// The archive that Helm pulls is byte for byte that of the repository, and its digest is
// the same on any day and machine. A run without news costs one request.
func TestTrackedChartsAreCopied(t *testing.T) {
	f, c := newFixture(t), newCharts(t)
	f.push(t, "agent", 1)
	archive := c.publish(t, "1.0.0", chartYAML("1.0.0"), f.publicHost+"/castai/agent:v1")
	plus := c.publish(t, "1.1.0+build.7", chartYAML("1.1.0+build.7"), f.publicHost+"/castai/agent:v1")
	o := f.chartOptions(t, c)
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "3 images: 3 copied")
	for ref, want := range map[string][]byte{"1.0.0": archive, "1.1.0+build.7": plus} {
		pulled := pull(t, f.private.Host+"/mirror/charts/agent:"+ref)
		if !bytes.Equal(pulled.Chart.Data, want) || pulled.Chart.Meta.Version != ref || pulled.Chart.Meta.AppVersion != "1.5" {
			t.Errorf("%s: %+v", ref, pulled.Chart.Meta)
		}
	}
	l := readLock(t, o.Lock.Name)
	e, ok := l.Lookup("charts.privatelink.cast.ai/agent:1.1.0_build.7", "")
	if !ok || e.Target != f.private.Host+"/mirror/charts/agent:1.1.0_build.7" || e.Chart == nil || e.Chart.URL != c.url+"/agent-1.1.0+build.7.tgz" ||
		e.Chart.Digest.Encoded() != fmt.Sprintf("%x", sha256.Sum256(plus)) || e.Digest.String() != fakeregistry.Digest(t, e.Target) {
		t.Errorf("lock entry %+v", e)
	}
	// The same bytes always have this digest: what IMMUTABLE tags require.
	if got, want := fakeregistry.Digest(t, f.private.Host+"/mirror/charts/agent:1.0.0"), digestOf(t, archive); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	c.taken()
	written, err := os.Stat(o.Lock.Name)
	if err != nil {
		t.Fatal(err)
	}
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "0 copied, 3 present before")
	if again, err := os.Stat(o.Lock.Name); err != nil || os.SameFile(written, again) {
		t.Error("the run did not write the lock, whose age tells when the mirror last ran", err)
	}
	if got := c.taken(); got != "/index.yaml" {
		t.Errorf("requests without news: %s", got)
	}
	f.want(t, Check(t.Context(), o), exitcode.OK, "3 images: 3 present")

	// Without sources, the lock file says where the charts are from.
	o.Sources, o.Rules = selection.Sources{Warnf: o.Reporter.Warnf}, rules(t, rewrite.Config{Registry: f.private.Host + "/mirror"})
	f.want(t, Check(t.Context(), o), exitcode.OK, "3 images: 3 present")
	fakeregistry.Delete(t, f.private.Host+"/mirror/charts/agent:1.0.0")
	f.want(t, Check(t.Context(), o), exitcode.ActionNeeded, "1 missing")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied, 2 present before")
}

func TestChartsInAnArchive(t *testing.T) {
	f, c := newFixture(t), newCharts(t)
	f.push(t, "agent", 1)
	archive := c.publish(t, "1.0.0", chartYAML("1.0.0"), f.publicHost+"/castai/agent:v1")
	o := f.chartOptions(t, c)
	export := ExportOptions{Options: o.Options, Sources: o.Sources, Lock: o.Lock, File: f.file("images.tar")}
	f.want(t, Export(t.Context(), export), exitcode.OK, "2 images, ")
	c.taken()
	other := fakeregistry.Start(t).Host + "/other"
	i := ImportOptions{Options: f.optionsFor(t, other), File: export.File, LockFile: f.file("other.lock.yaml")}
	f.want(t, Import(t.Context(), i), exitcode.OK, "2 copied")
	if pulled := pull(t, other+"/charts/agent:1.0.0"); !bytes.Equal(pulled.Chart.Data, archive) {
		t.Error("the archive differs")
	}
	if e, ok := readLock(t, i.LockFile).Lookup("charts.privatelink.cast.ai/agent:1.0.0", ""); !ok || e.Chart == nil || e.Chart.URL != c.url+"/agent-1.0.0.tgz" {
		t.Errorf("lock entry %+v", e)
	}
	if got := c.taken(); got != "" {
		t.Errorf("the import requests %s", got)
	}
}

// What is wrong with a version is that version's trouble alone.
func TestChartsThatCannotBeCopied(t *testing.T) {
	for name, tc := range map[string]struct {
		publish func(t *testing.T, c *charts, image string)
		want    string
	}{
		"another digest than the index says": {func(t *testing.T, c *charts, image string) {
			c.add("2.0.0", tgz(t, map[string]string{"agent/Chart.yaml": chartYAML("2.0.0")}), strings.Repeat("0", 64))
		}, "the repository's index says 000"},
		"a digest that is none": {func(t *testing.T, c *charts, image string) {
			c.add("2.0.0", tgz(t, map[string]string{"agent/Chart.yaml": chartYAML("2.0.0")}), "../../x")
		}, "which is no SHA-256"},
		"another version than the index says": {func(t *testing.T, c *charts, image string) {
			c.publish(t, "2.0.0", chartYAML("2.0.1"), image)
		}, "its Chart.yaml says agent 2.0.1"},
		"another name than the index says": {func(t *testing.T, c *charts, image string) {
			c.publish(t, "2.0.0", strings.Replace(chartYAML("2.0.0"), "name: agent", "name: other", 1), image)
		}, "its Chart.yaml says other 2.0.0"},
		"a name that leads elsewhere": {func(t *testing.T, c *charts, image string) {
			c.publish(t, "2.0.0", strings.Replace(chartYAML("2.0.0"), "name: agent", "name: ../../agent", 1), image)
		}, `chart.metadata.name "../../agent" is invalid`},
		"a file outside of the chart": {func(t *testing.T, c *charts, image string) {
			data := tgz(t, map[string]string{"agent/Chart.yaml": chartYAML("2.0.0"), "agent/../../outside": "x"})
			c.add("2.0.0", data, fmt.Sprintf("%x", sha256.Sum256(data)))
		}, "it is no chart: chart illegally"},
		"an archive that does not exist": {func(t *testing.T, c *charts, image string) {
			c.publish(t, "2.0.0", chartYAML("2.0.0"), image)
			delete(c.archives, "agent-2.0.0.tgz")
		}, "the server answers 404 Not Found"},
		"content that is too large": {func(t *testing.T, c *charts, image string) {
			data := tgz(t, map[string]string{"agent/Chart.yaml": chartYAML("2.0.0"), "agent/templates/pod.yaml": strings.Repeat("#", 101<<20)})
			c.add("2.0.0", data, fmt.Sprintf("%x", sha256.Sum256(data)))
		}, "larger than the maximum size"},
		"an archive that is too large": {func(t *testing.T, c *charts, image string) {
			c.add("2.0.0", make([]byte, 100<<20+1), strings.Repeat("0", 64))
		}, "agent-2.0.0.tgz: the response is larger than 100 MiB"},
		"a version that is no tag": {func(t *testing.T, c *charts, image string) {
			version := "2.0.0+" + strings.Repeat("7", 130)
			c.publish(t, version, chartYAML(version), image)
		}, "has no place in a registry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, c := newFixture(t), newCharts(t)
			f.push(t, "agent", 1)
			image := f.publicHost + "/castai/agent:v1"
			c.publish(t, "1.0.0", chartYAML("1.0.0"), image)
			tc.publish(t, c, image)
			o := f.chartOptions(t, c)
			f.want(t, Mirror(t.Context(), o), exitcode.Failed, tc.want)
			if reported := f.out.String() + f.errOut.String(); strings.Contains(reported, "agent:1.0.0: ") {
				t.Errorf("trouble of the other version:\n%s", reported)
			}
			if n := strings.Count(c.taken(), "agent-2.0.0"); n > 2 {
				t.Errorf("the version was fetched %d times", n)
			}
			l := readLock(t, o.Lock.Name)
			if _, ok := l.Lookup("charts.privatelink.cast.ai/agent:1.0.0", ""); !ok {
				t.Errorf("the other version was not copied: %+v", l)
			}
			if got := fakeregistry.Digest(t, f.private.Host+"/mirror/charts/agent:2.0.0"); got != "" {
				t.Errorf("the registry has %s", got)
			}
		})
	}
}

// Whatever becomes of the index, the registry and the lock keep what was mirrored, and a
// run of the lock alone needs the repository no more.
func TestWhatTheIndexLosesIsKept(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(c *charts)
		code    int
		want    string
		tracked string
	}{
		"a version was yanked":          {func(c *charts) { c.entries = entry("1.0.0", c.archives) }, exitcode.OK, "2 images: 0 copied, 2 present", "1.0.0"},
		"the repository went back":      {func(c *charts) { c.entries = entry("0.9.0", c.archives) }, exitcode.OK, "2 images: 1 copied, 1 present", "0.9.0"},
		"the chart is gone":             {func(c *charts) { c.entries = "  other:\n" + c.entries }, exitcode.Failed, "it has no chart", "1.1.0"},
		"an index that is too large":    {func(c *charts) { c.entries = strings.Repeat("#", 64<<20) }, exitcode.Failed, "index.yaml: the response is larger than 64 MiB", "1.1.0"},
		"an index that is cut off":      {func(c *charts) { c.entries += "  - {version: 1.2.0, urls: [" }, exitcode.Failed, "index.yaml: ", "1.1.0"},
		"10,000 versions, and one more": {func(c *charts) { c.entries = manyEntries(10_000) + c.entries }, exitcode.OK, "3 images: 0 copied, 3 present", "1.1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, c := newFixture(t), newCharts(t)
			f.push(t, "agent", 1)
			for _, v := range []string{"0.9.0", "1.0.0", "1.1.0"} {
				c.publish(t, v, chartYAML(v), f.publicHost+"/castai/agent:v1")
			}
			o := f.chartOptions(t, c)
			o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Track: rewrite.Track{Repository: c.url, Charts: []string{"agent"}, Newest: 2}})
			f.want(t, Mirror(t.Context(), o), exitcode.OK, "3 images: 3 copied")
			before := readLock(t, o.Lock.Name)

			tc.change(c)
			f.want(t, Mirror(t.Context(), o), tc.code, tc.want)
			after := readLock(t, o.Lock.Name)
			for _, e := range before.Images {
				if kept, ok := after.Lookup(e.Source, ""); !ok || kept.Digest != e.Digest || fakeregistry.Digest(t, e.Target) != e.Digest.String() {
					t.Errorf("%s is %+v in the lock, and %s in the registry", e.Source, kept, fakeregistry.Digest(t, e.Target))
				}
			}
			if after.Tracked["agent"] != tc.tracked {
				t.Errorf("tracked up to %s, want %s", after.Tracked["agent"], tc.tracked)
			}

			clear(c.archives)
			o.Sources = selection.Sources{Warnf: o.Reporter.Warnf}
			f.want(t, Mirror(t.Context(), o), exitcode.OK, fmt.Sprintf("0 copied, %d present", len(after.Images)))
		})
	}
}

// entry is that of one version, and forgets the archives of all others.
func entry(version string, archives map[string][]byte) string {
	file := "agent-" + version + ".tgz"
	for name := range archives {
		if name != file {
			delete(archives, name)
		}
	}
	return fmt.Sprintf("  - {version: %q, urls: [%q]}\n", version, file)
}

// manyEntries are n old versions, whose archives do not exist.
func manyEntries(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {version: 0.0.%d, urls: [agent-0.0.%[1]d.tgz]}\n", i)
	}
	return b.String()
}

// A version that its publisher replaces is not replaced in silence.
func TestAChartThatWasReplaced(t *testing.T) {
	f, c := newFixture(t), newCharts(t)
	f.push(t, "agent", 1)
	image := f.publicHost + "/castai/agent:v1"
	c.publish(t, "1.0.0", chartYAML("1.0.0"), image)
	o := f.chartOptions(t, c)
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "2 copied")
	before := readLock(t, o.Lock.Name)
	c.entries = ""
	replaced := c.publish(t, "1.0.0", chartYAML("1.0.0")+"# again\n", image)
	f.want(t, Mirror(t.Context(), o), exitcode.Failed, "has replaced the archive of this version")
	if after := readLock(t, o.Lock.Name); *chartOf(after) != *chartOf(before) {
		t.Errorf("%+v after %+v", chartOf(after), chartOf(before))
	}
	o.Lock.Update, o.Overwrite = true, true
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 copied")
	if got := fakeregistry.Digest(t, f.private.Host+"/mirror/charts/agent:1.0.0"); got != digestOf(t, replaced) {
		t.Error(got)
	}
}

func chartOf(l *lock.Lock) *lock.Chart {
	e, _ := l.Lookup("charts.privatelink.cast.ai/agent:1.0.0", "")
	return e.Chart
}

func TestARegistryThatTakesImagesAlone(t *testing.T) {
	f, c := newFixture(t), newCharts(t)
	f.push(t, "agent", 1)
	c.publish(t, "1.0.0", chartYAML("1.0.0"), f.publicHost+"/castai/agent:v1")
	f.private.SetFault(fakeregistry.When(func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/charts/agent/manifests/")
	}, fakeregistry.Respond(http.StatusBadRequest, `{"errors":[{"code":"MANIFEST_INVALID","message":"unknown media type"}]}`)))
	f.want(t, Mirror(t.Context(), f.chartOptions(t, c)), exitcode.Failed, "it may be a registry that takes images alone")
	fakeregistry.Verify(t, f.target("agent"))
}
