// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/output"
)

func TestChanges(t *testing.T) {
	before := map[string]string{"registry": "0 of 2 images missing", "replica a": "ready v1", "replica b": "ready v1", "ERROR x": "", "configuration": "1"}
	after := map[string]string{"registry": "1 of 2 images missing", "replica a": "ready v1", "replica c": "not ready v2", "ERROR y": "", "configuration": "1"}
	want := []string{
		"no longer: ERROR x", "ERROR y", "registry: 1 of 2 images missing (before: 0 of 2 images missing)", "replica b: gone", "replica c: not ready v2",
	}
	if diff := cmp.Diff(want, changes(before, after)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got := changes(after, after); got != nil {
		t.Errorf("no change: %q", got)
	}
}

// A view that is no terminal has one line for a change, for an outage and for its end.
func TestViewWritesLines(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	status := func(ready bool, rewritten int) *Status {
		return &Status{Wanted: 1, ConfigHash: "h", Replicas: []Replica{{Pod: "w", Ready: ready, Version: "v1", ConfigHash: "h", Reviews: map[string]int{"rewritten": rewritten}}}}
	}
	steps := func(v *view) error {
		unreachable := errors.New("no route\nto host")
		return errors.Join(v.show(status(true, 1), now), v.show(status(true, 2), now), v.showOutage(unreachable, now), v.showOutage(unreachable, now.Add(10*time.Second)),
			v.show(status(false, 2), now.Add(20*time.Second)))
	}
	var out bytes.Buffer
	if err := steps(&view{out: &out}); err != nil {
		t.Fatal(err)
	}
	const want = `2026-11-29T12:00:00Z  configuration: h
2026-11-29T12:00:00Z  pods that wait: no pod waits for an image
2026-11-29T12:00:00Z  registry: 0 of 0 images missing
2026-11-29T12:00:00Z  replica w: ready v1
2026-11-29T12:00:00Z  cannot read the cluster: no route\nto host
2026-11-29T12:00:20Z  the cluster can be read again, after 20s
2026-11-29T12:00:20Z  ERROR 0 of 1 replicas are ready
2026-11-29T12:00:20Z  replica w: not ready v1 (before: ready v1)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	var documents bytes.Buffer
	var warnings []string
	if err := steps(&view{out: &documents, format: output.JSON, Options: Options{Warn: func(s string) { warnings = append(warnings, s) }}}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(documents.String(), "\n"); n != 2 || len(warnings) != 2 {
		t.Errorf("%d documents, want 2; warnings %q, want 2:\n%s", n, warnings, &documents)
	}
	if err := json.NewDecoder(&documents).Decode(&Status{}); err != nil {
		t.Error(err)
	}
}

// apiServer answers as a cluster with a webhook without replicas, unless it is down: then it
// closes each connection. Its port stays its own.
type apiServer struct {
	*httptest.Server
	isDown atomic.Bool
}

func startAPIServer(t *testing.T) *apiServer {
	a := &apiServer{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case a.isDown.Load():
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(r.URL.Path, "/deployments/privatelink-webhook"):
			fmt.Fprint(w, `{"spec":{"replicas":1,"selector":{"matchLabels":{"app":"w"}},"template":{"spec":{"volumes":[{"configMap":{"name":"c"}}]}}}}`)
		case strings.HasSuffix(r.URL.Path, "/pods"):
			fmt.Fprint(w, `{"kind":"PodList","apiVersion":"v1","items":[]}`)
		case strings.HasSuffix(r.URL.Path, "/configmaps/c"):
			fmt.Fprint(w, `{"data":{"privatelink.yaml":"registry: registry.example.com/castai\n"}}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// syncBuffer is a buffer that is written and read at the same time.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// waitFor waits until the buffer has a text.
func (b *syncBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(b.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in:\n%s", text, b)
		}
	}
}

func TestWatchOutlivesTheAPIServer(t *testing.T) {
	a := startAPIServer(t)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"` + a.URL + `"}}],"users":[{"name":"u","user":{}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Cluster: kubeconfig.Options{File: file}, SkipRegistry: true, Timeout: 5 * time.Second, Interval: time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	var out syncBuffer
	ended := make(chan error)
	go func() { ended <- Watch(ctx, &out, output.Text, o) }()
	out.waitFor(t, "ERROR 0 of 1 replicas are ready\n")
	a.isDown.Store(true)
	out.waitFor(t, "cannot read the cluster: ")
	a.isDown.Store(false)
	out.waitFor(t, "the cluster can be read again, after ")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the end of a watch is an error: %v", err)
	}
	if n := strings.Count(out.String(), "ERROR 0 of 1"); n != 1 {
		t.Errorf("a state that did not change is reported %d times:\n%s", n, &out)
	}
}

func TestWatchFailsIfItCannotBegin(t *testing.T) {
	missing := kubeconfig.Options{File: filepath.Join(t.TempDir(), "none")}
	for name, tc := range map[string]struct {
		format output.Format
		o      Options
		want   string
	}{
		"a file":              {output.HTML, Options{Interval: time.Second}, "--watch writes no file"},
		"too often":           {output.Text, Options{Interval: time.Millisecond}, "use at least 1s"},
		"there is no cluster": {output.Text, Options{Interval: time.Second, Timeout: time.Second, Cluster: missing}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Watch(t.Context(), &bytes.Buffer{}, tc.format, tc.o)
			if exitcode.Code(err) != exitcode.Usage || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// A watch must not ask the registry for each image in each round.
func TestLookupsAreKept(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			requests.Add(1)
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	image := strings.TrimPrefix(server.URL, "http://") + "/castai/agent:v1"
	rounds := func(keep time.Duration) int64 {
		r := newResolver(t.Context(), Options{}, keep)
		for n := range 5 {
			if n == 1 {
				requests.Store(0)
			}
			if found, err := r.resolve(t.Context(), []string{image}); err != nil || found[0].err == nil {
				t.Fatalf("%+v, %v", found, err)
			}
		}
		return requests.Load()
	}
	if kept, each := rounds(time.Hour), rounds(0); kept != 0 || each < 4 {
		t.Errorf("%d requests in 4 rounds after the first, want 0; %d without keeping results, want 4", kept, each)
	}
}
