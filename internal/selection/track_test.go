// SPDX-License-Identifier: Apache-2.0

package selection_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
)

func TestNoPodThatWaits(t *testing.T) {
	s := selection.Sources{Missing: true, Kubeconfig: cluster(t, true, agent)} // its pod has no status
	recordWarnings(&s)
	if _, err := s.Jobs(t.Context(), rules(t), selection.LockFile{Name: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, selection.ErrNothingWaits) || !strings.Contains(fmt.Sprint(err), "castai-agent") {
		t.Error(err)
	}
}

func TestAPrivateImageThatIsWaitedForIsNotPassedOver(t *testing.T) {
	s := selection.Sources{Missing: true}
	recordWarnings(&s)
	list := privateImage(t)
	if jobs := s.ToCopy(list); len(jobs) != 1 || jobs[0].Refused == nil || !strings.Contains(jobs[0].Refused.Error(), "name what it is from") {
		t.Errorf("%+v", jobs)
	}
}

func TestSourcesThatExcludeEachOther(t *testing.T) {
	for name, s := range map[string]selection.Sources{
		"missing and a set":       {Missing: true, Sets: []string{"phase1"}},
		"missing and the cluster": {Missing: true, Cluster: true},
		"ahead of no cluster":     {Ahead: true, Sets: []string{"phase1"}},
	} {
		recordWarnings(&s)
		if _, _, err := s.Images(t.Context(), rules(t)); exitcode.Code(err) != exitcode.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClusterWithoutReleasesHasNothingAhead(t *testing.T) {
	s := selection.Sources{Cluster: true, Ahead: true, Kubeconfig: cluster(t, true, agent)}
	recordWarnings(&s)
	if _, _, err := s.Images(t.Context(), rules(t)); err == nil || !strings.Contains(err.Error(), "--ahead: no Helm release in castai-agent") {
		t.Error(err)
	}
}

// An index without the charts is an error, although other sources have images.
func TestALostIndexFailsTheRun(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "apiVersion: v1\nentries: {}\n") }))
	defer server.Close()
	r, err := rewrite.Load("f", []byte("registry: "+registry+"\ntrack: {repository: '"+server.URL+"'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := selection.Sources{Sets: []string{"phase1"}, Track: true}
	recordWarnings(&s)
	if images, _, err := s.Images(t.Context(), r); err == nil || !strings.Contains(err.Error(), "track: repository "+server.URL+": index.yaml lists no chart") || images != nil {
		t.Errorf("%d images, %v", len(images), err)
	}
}
