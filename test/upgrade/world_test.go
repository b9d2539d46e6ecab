// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// traffic is what a server was asked for.
type traffic struct{ requests, bytes int64 }

func (t *traffic) add(o traffic) { t.requests += o.requests; t.bytes += o.bytes }

// usage is the traffic of the chart repository, the public registry and the private one.
type usage struct{ charts, public, private traffic }

func (u *usage) add(o usage) {
	u.charts.add(o.charts)
	u.public.add(o.public)
	u.private.add(o.private)
}

// world has the three servers that a run talks to.
type world struct {
	charts     *chartRepository
	public     *fakeregistry.Server
	publicHost string // a name that the rules do not take for node-local, as 127.0.0.1 is
	private    *fakeecr.Server
	rules      *rewrite.Rules
	prefix     string // of the images in the private registry, without its host

	mu       sync.Mutex
	read     traffic // of the public registry
	isPublic bool    // whether the public registry is there
	pushed   map[string]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	// The login of ECR needs its own host names.
	w := &world{charts: newChartRepository(t), public: fakeregistry.Start(t), isPublic: true, pushed: map[string]bool{},
		private: fakeecr.New(fakeecr.Options{Switches: fakeecr.Switches{Anonymous: true, Direct: true, BlobMounting: true}})}
	server := httptest.NewServer(w.private)
	t.Cleanup(server.Close)
	w.publicHost = strings.Replace(w.public.Host, "127.0.0.1", "0.0.0.0", 1)
	w.public.SetFault(w.countPublic)
	host := strings.TrimPrefix(server.URL, "http://")
	w.prefix = "mirror/" + strings.Replace(w.publicHost, ":", "_", 1) + "/"
	for _, c := range charts() {
		w.private.Create(w.prefix + "castai/" + c)
	}
	var err error
	w.rules, err = rewrite.New(rewrite.Config{Registry: host + "/mirror", Track: rewrite.Track{Repository: w.charts.URL, Charts: charts()}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// countPublic counts what the public registry sends. While it is away, it asks to come
// back in an hour, so that no run waits in real time.
func (w *world) countPublic(rw http.ResponseWriter, r *http.Request, next http.Handler) {
	counting := &countingWriter{ResponseWriter: rw}
	w.mu.Lock()
	isThere := w.isPublic
	w.mu.Unlock()
	if isThere {
		next.ServeHTTP(counting, r)
	} else {
		unavailable(counting)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read.add(traffic{1, counting.n})
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "3600")
	w.WriteHeader(http.StatusServiceUnavailable)
}

type countingWriter struct {
	http.ResponseWriter
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

func (w *world) setPublic(isThere bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isPublic = isThere
}

// taken returns what the three servers were asked for since the last call.
func (w *world) taken() (u usage) {
	w.mu.Lock()
	u.public, w.read = w.read, traffic{}
	w.mu.Unlock()
	w.public.ResetLog()
	for _, r := range w.private.Log() {
		u.private.add(traffic{1, r.Sent + r.Got})
	}
	w.private.ResetLog()
	u.charts = w.charts.taken()
	return u
}

// publish pushes the images of a release that are new, and lists the release.
func (w *world) publish(t *testing.T, r release) {
	t.Helper()
	for _, image := range r.images {
		if !w.pushed[image] {
			w.pushed[image] = true
			const layer = 200 // bytes: what is counted is the images, not their size
			fakeregistry.Push(t, w.public.Host+"/"+image, fakeregistry.MultiArch(t, layer, uint64(len(w.pushed))))
		}
	}
	w.charts.publish(t, r, w.publicHost)
}

// has reports whether the private registry has an image.
func (w *world) has(image string) bool {
	repository, tag, _ := strings.Cut(image, ":")
	return w.private.Tag(w.prefix+repository, tag) != ""
}

// chartRepository serves index.yaml with an entity tag, and archives.
type chartRepository struct {
	*httptest.Server
	dir string

	mu       sync.Mutex
	isAway   bool
	entries  map[string][]chart.Version
	archives map[string][]byte
	index    string
	served   traffic
}

func newChartRepository(t *testing.T) *chartRepository {
	t.Helper()
	r := &chartRepository{dir: t.TempDir(), entries: map[string][]chart.Version{}, archives: map[string][]byte{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *chartRepository) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counting := &countingWriter{ResponseWriter: w}
	defer func() { r.served.add(traffic{1, counting.n}) }()
	name := strings.TrimPrefix(q.URL.Path, "/")
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(r.index)))
	switch archive, ok := r.archives[name]; {
	case r.isAway:
		unavailable(counting)
	case name == "index.yaml" && q.Header.Get("If-None-Match") == etag:
		w.WriteHeader(http.StatusNotModified)
	case name == "index.yaml":
		w.Header().Set("ETag", etag)
		fmt.Fprint(counting, r.index)
	case ok:
		_, _ = counting.Write(archive) // the client may have been killed
	default:
		http.NotFound(counting, q)
	}
}

func (r *chartRepository) taken() (t traffic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, r.served = r.served, traffic{}
	return t
}

func (r *chartRepository) setAway(isAway bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isAway = isAway
}

// publish adds a version to the index. The oldest comes first, unlike in most indexes.
func (r *chartRepository) publish(t *testing.T, v release, registry string) {
	t.Helper()
	c := &chartv2.Chart{Metadata: &chartv2.Metadata{APIVersion: "v2", Name: v.chart, Version: v.version}}
	for i, image := range v.images {
		pod := fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: [{name: c, image: %q}]}\n", i, registry+"/"+image)
		c.Templates = append(c.Templates, &common.File{Name: fmt.Sprintf("templates/pod-%d.yaml", i), Data: []byte(pod)})
	}
	file, err := chartutil.Save(c, r.dir)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := v.chart + "-" + v.version + ".tgz"
	r.archives[name] = archive
	r.entries[v.chart] = append(r.entries[v.chart], chart.Version{Version: v.version, Digest: fmt.Sprintf("%x", sha256.Sum256(archive)), URL: name})
	r.writeIndex()
}

// yank takes a version out of the index, and its archive away.
func (r *chartRepository) yank(v release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries[v.chart] = slices.DeleteFunc(r.entries[v.chart], func(e chart.Version) bool { return e.Version == v.version })
	delete(r.archives, v.chart+"-"+v.version+".tgz")
	r.writeIndex()
}

func (r *chartRepository) writeIndex() {
	var index strings.Builder
	index.WriteString("apiVersion: v1\nentries:\n")
	for _, c := range slices.Sorted(maps.Keys(r.entries)) {
		fmt.Fprintf(&index, "  %s:\n", c)
		for _, v := range r.entries[c] {
			fmt.Fprintf(&index, "  - {version: %s, digest: %s, urls: [%s]}\n", v.Version, v.Digest, v.URL)
		}
	}
	r.index = index.String()
}
