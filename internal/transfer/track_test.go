// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"helm.sh/helm/v4/pkg/chart/common"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
)

// chartRepository is a chart repository to which versions are added.
type chartRepository struct {
	*httptest.Server
	dir, index string
}

func newChartRepository(t *testing.T) *chartRepository {
	t.Helper()
	r := &chartRepository{dir: t.TempDir(), index: "apiVersion: v1\nentries:\n  agent:\n"}
	files := http.FileServer(http.Dir(r.dir))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/index.yaml" {
			fmt.Fprint(w, r.index)
			return
		}
		files.ServeHTTP(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *chartRepository) add(t *testing.T, version, template string) {
	t.Helper()
	file, err := chartutil.Save(&chartv2.Chart{
		Metadata:  &chartv2.Metadata{APIVersion: "v2", Name: "agent", Version: version},
		Templates: []*common.File{{Name: "templates/pod.yaml", Data: []byte(template)}},
	}, r.dir)
	if err != nil {
		t.Fatal(err)
	}
	r.index += fmt.Sprintf("  - {version: %s, urls: [%s]}\n", version, filepath.Base(file))
}

// A version that others follow between two runs is mirrored, also if the run that was the
// first to see it failed. The lock keeps what earlier runs have copied.
func TestNoTrackedVersionIsPassedOver(t *testing.T) {
	f, charts := newFixture(t), newChartRepository(t)
	o := CopyOptions{Options: f.options(t), Sources: selection.Sources{Track: true}, Lock: f.lockFile()}
	o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Track: rewrite.Track{Repository: charts.URL, Charts: []string{"agent"}, Newest: 1}})
	o.Sources.Warnf = o.Reporter.Warnf
	release := func(version, name string) { charts.add(t, version, pod(f.publicHost+"/castai/"+name+":v1")) }
	wantLock := func(tracked string, names ...string) {
		t.Helper()
		l := readLock(t, o.Lock.Name)
		var got []string
		for _, e := range l.Images {
			got = append(got, strings.TrimSuffix(e.Source[strings.LastIndex(e.Source, "/")+1:], ":v1"))
		}
		if l.Tracked["agent"] != tracked || !slices.Equal(got, names) {
			t.Errorf("the lock has %v up to %v, want %v up to %s", got, l.Tracked, names, tracked)
		}
	}

	f.push(t, "a", 1)
	release("1.0.0", "a")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 images: 1 copied")
	wantLock("1.0.0", "a")

	release("1.1.0", "b") // whose image is late
	f.push(t, "c", 3)
	release("1.2.0", "c")
	f.want(t, Mirror(t.Context(), o), exitcode.Failed, "1 copied, 0 present before, 1 not copied")
	wantLock("1.0.0", "a", "c")

	f.push(t, "b", 2)
	f.push(t, "d", 4)
	release("1.3.0", "d")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "3 images: 2 copied, 1 present before")
	wantLock("1.3.0", "a", "b", "c", "d")

	locked := o // a run of what the lock lists has no charts to track, and forgets none
	locked.Sources = selection.Sources{Warnf: o.Reporter.Warnf}
	f.want(t, Mirror(t.Context(), locked), exitcode.OK, "4 images: 0 copied, 4 present")
	wantLock("1.3.0", "a", "b", "c", "d")

	e := ExportOptions{Options: o.Options, Sources: o.Sources, Lock: o.Lock, File: f.file("castai.tar"), Since: o.Lock.Name}
	f.push(t, "e", 5)
	release("1.4.0", "e")
	f.want(t, Export(t.Context(), e), exitcode.OK, "")
	wantLock("1.4.0", "a", "b", "c", "d", "e")
}

// A chart may be published some time before its image. The run says so, and a later one
// copies it.
func TestAnImageThatAppearsAfterItsChart(t *testing.T) {
	f, charts := newFixture(t), newChartRepository(t)
	o := CopyOptions{Options: f.options(t), Sources: selection.Sources{Track: true}, Lock: f.lockFile()}
	charts.add(t, "1.0.0", pod(f.publicHost+"/castai/agent:v1"))
	o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Track: rewrite.Track{Repository: charts.URL, Charts: []string{"agent"}}})
	o.Sources.Warnf = o.Reporter.Warnf
	f.want(t, Mirror(t.Context(), o), exitcode.Failed, "not found")
	f.push(t, "agent", 1)
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "1 images: 1 copied")
	f.want(t, Mirror(t.Context(), o), exitcode.OK, "0 copied, 1 present before")
}

// A version that does not render is exit code 1, and everything else is copied.
func TestTrackedVersionsThatFail(t *testing.T) {
	f := newFixture(t)
	f.push(t, "agent", 1)
	charts := newChartRepository(t)
	charts.add(t, "1.1.0", `{{ fail "no" }}`)
	charts.add(t, "1.0.0", pod(f.publicHost+"/castai/agent:v1"))
	o := CopyOptions{Options: f.options(t), Sources: selection.Sources{Track: true}, Lock: selection.LockFile{Name: filepath.Join(f.dir, "lock.yaml")}}
	o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Track: rewrite.Track{Repository: charts.URL, Charts: []string{"agent"}}})
	o.Sources.Warnf = o.Reporter.Warnf
	err := Mirror(t.Context(), o)
	if exitcode.Code(err) != exitcode.Failed || !strings.Contains(f.out.String(), "1 images: 1 copied") || !strings.Contains(f.errOut.String(), "chart agent 1.1.0: ") {
		t.Errorf("%v\n%s\n%s", err, f.out.String(), f.errOut.String())
	}
	if l, err := lock.Read(o.Lock.Name); err != nil || len(l.Images) != 1 || !strings.Contains(l.Images[0].Why[0], "agent@1.0.0") {
		t.Errorf("%+v, %v", l, err)
	}
	f.out, f.errOut = bytes.Buffer{}, bytes.Buffer{}
	f.want(t, Check(t.Context(), o), exitcode.Failed, "1 images: 1 present")
}
