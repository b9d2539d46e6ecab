// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/status"
)

// cluster starts an API server with one replica of the webhook.
func cluster(t *testing.T, wanted int, metrics string) kubeconfig.Options {
	t.Helper()
	const prefix = "/api/v1/namespaces/castai-privatelink/"
	responses := map[string]string{
		"/apis/apps/v1/namespaces/castai-privatelink/deployments/privatelink-webhook": fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"privatelink-webhook","namespace":"castai-privatelink"},
			"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"w"}},"template":{"spec":{"volumes":[{"name":"config","configMap":{"name":"c"}}]}}}}`, wanted),
		prefix + "pods": `{"apiVersion":"v1","kind":"PodList","items":[
			{"metadata":{"name":"w-1","namespace":"castai-privatelink"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]},"spec":{"containers":[{"name":"w","ports":[{"name":"metrics","containerPort":18080}]}]}},
			{"metadata":{"name":"evicted","namespace":"castai-privatelink"},"status":{"phase":"Failed"},"spec":{"containers":[]}}]}`,
		prefix + "configmaps/c": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"privatelink.yaml":"registry: registry.example.com/castai\n"}}`,
	}
	responses["/api/v1/namespaces/castai-agent/pods"] = `{"apiVersion":"v1","kind":"PodList","items":[]}`
	responses["/apis/batch/v1/namespaces/castai-mirror/cronjobs/privatelink-mirror"] = `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"},"status":{"lastSuccessfulTime":"2026-01-02T00:00:00Z"}}`
	if metrics != "" {
		responses[prefix+"pods/http:w-1:18080/proxy/metrics"] = metrics
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := responses[r.URL.Path]
		if !ok {
			http.Error(w, "no "+r.URL.Path, http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return kubeconfig.Options{File: write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"`+s.URL+`"}}],"users":[{"name":"u","user":{}}]}`)}
}

func write(t *testing.T, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRun(t *testing.T) {
	metrics := `# TYPE privatelink_build_info gauge
privatelink_build_info{version="v1"} 1
# TYPE privatelink_images_rewritten_total counter
privatelink_images_rewritten_total{source="ghcr.io"} 5
# TYPE privatelink_config_info gauge
privatelink_config_info{hash="a9e4f17074c5"} 1
# TYPE privatelink_config_last_load_successful gauge
privatelink_config_last_load_successful 1
`
	for title, tc := range map[string]struct {
		wanted  int
		metrics string
		change  func(*status.Options)
		code    int
		out     string
	}{
		"no errors":                    {1, metrics, nil, exitcode.OK, "5: 5 ghcr.io"},
		"the mirror has stopped":       {1, metrics, func(o *status.Options) { o.MirrorMaxAge = 3 * time.Hour }, exitcode.ActionNeeded, "castai-mirror/privatelink-mirror has not succeeded since 2026-01-02 00:00 UTC"},
		"no lock file":                 {1, metrics, func(o *status.Options) { o.SkipRegistry = false }, exitcode.OK, "not checked: there is no lock file"},
		"a lock file that is missing":  {1, metrics, func(o *status.Options) { o.SkipRegistry, o.LockFile = false, "none.yaml" }, exitcode.Usage, ""},
		"no cluster":                   {1, metrics, func(o *status.Options) { o.Cluster.File = "none" }, exitcode.Usage, ""},
		"a replica is missing":         {2, metrics, nil, exitcode.ActionNeeded, "1 of 2 replicas are ready"},
		"metrics cannot be read":       {1, "", nil, exitcode.Failed, "unknown"},
		"the configuration is another": {1, strings.ReplaceAll(metrics, "a9e4f17074c5", "000000000000"), nil, exitcode.ActionNeeded, "the ConfigMap is a9e4f17074c5"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Chdir(t.TempDir())
			o := status.Options{Cluster: cluster(t, tc.wanted, tc.metrics), SkipRegistry: true, Timeout: 10 * time.Second}
			if tc.change != nil {
				tc.change(&o)
			}
			var out bytes.Buffer
			if err := status.Run(t.Context(), &out, "", o); exitcode.Code(err) != tc.code {
				t.Errorf("exit code %d, want %d: %v", exitcode.Code(err), tc.code, err)
			}
			if !strings.Contains(out.String(), tc.out) {
				t.Errorf("%s\ndoes not contain %q", &out, tc.out)
			}
		})
	}
}

func TestRunWritesMissingImagesAsJSON(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	file := write(t, "lock.yaml", "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Lock\nregistry: "+host+"/castai\nimages:\n- {source: ghcr.io/a:1, target: "+host+"/castai/a:1, mediaType: m, size: 1, digest: sha256:"+strings.Repeat("0", 64)+"}\n")
	t.Setenv("DOCKER_CONFIG", filepath.Dir(file))
	var out bytes.Buffer
	err := status.Run(t.Context(), &out, "json", status.Options{Cluster: cluster(t, 1, ""), LockFile: file, Timeout: 10 * time.Second})
	if exitcode.Code(err) != exitcode.ActionNeeded {
		t.Errorf("error %v", err)
	}
	var s status.Status
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	if len(s.Registry.Missing) != 1 || s.Registry.Missing[0] != host+"/castai/a:1" {
		t.Errorf("%+v", s.Registry)
	}
}
