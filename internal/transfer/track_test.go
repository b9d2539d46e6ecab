// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
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

// chartRepository serves a chart with one template by version.
func chartRepository(t *testing.T, templates map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	var index strings.Builder
	index.WriteString("apiVersion: v1\nentries:\n  agent:\n")
	for version, template := range templates {
		c := &chartv2.Chart{
			Metadata:  &chartv2.Metadata{APIVersion: "v2", Name: "agent", Version: version},
			Templates: []*common.File{{Name: "templates/pod.yaml", Data: []byte(template)}},
		}
		file, err := chartutil.Save(c, dir)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&index, "  - {version: %s, urls: [%s]}\n", version, filepath.Base(file))
	}
	files := http.FileServer(http.Dir(dir))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/index.yaml" {
			fmt.Fprint(w, index.String())
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A chart may be published some time before its image. The run says so, and a later one
// copies it.
func TestAnImageThatAppearsAfterItsChart(t *testing.T) {
	f := newFixture(t)
	o := CopyOptions{Options: f.options(t), Sources: selection.Sources{Track: true}, Lock: f.lockFile()}
	repository := chartRepository(t, map[string]string{"1.0.0": pod(f.publicHost + "/castai/agent:v1")})
	o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Track: rewrite.Track{Repository: repository, Charts: []string{"agent"}}})
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
	o := CopyOptions{Options: f.options(t), Sources: selection.Sources{Track: true}, Lock: selection.LockFile{Name: filepath.Join(f.dir, "lock.yaml")}}
	repository := chartRepository(t, map[string]string{"1.0.0": pod(f.publicHost + "/castai/agent:v1"), "1.1.0": `{{ fail "no" }}`})
	o.Rules = rules(t, rewrite.Config{Registry: f.private.Host + "/mirror", Track: rewrite.Track{Repository: repository, Charts: []string{"agent"}}})
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
