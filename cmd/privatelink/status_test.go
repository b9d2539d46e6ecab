// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/status"
)

// statusCluster answers as an API server with one replica of the webhook does.
func statusCluster(t *testing.T, wanted int, metrics string) (kubeconfig string) {
	t.Helper()
	const prefix = "/api/v1/namespaces/castai-privatelink/"
	answers := map[string]string{
		"/apis/apps/v1/namespaces/castai-privatelink/deployments/privatelink-webhook": fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"privatelink-webhook","namespace":"castai-privatelink"},
			"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"w"}},"template":{"spec":{"volumes":[{"name":"config","configMap":{"name":"c"}}]}}}}`, wanted),
		prefix + "pods": `{"apiVersion":"v1","kind":"PodList","items":[
			{"metadata":{"name":"w-1","namespace":"castai-privatelink"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]},"spec":{"containers":[{"name":"w","ports":[{"name":"metrics","containerPort":18080}]}]}},
			{"metadata":{"name":"evicted","namespace":"castai-privatelink"},"status":{"phase":"Failed"},"spec":{"containers":[]}}]}`,
		prefix + "configmaps/c": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"privatelink.yaml":"registry: x\n"}}`,
	}
	if metrics != "" {
		answers[prefix+"pods/http:w-1:18080/proxy/metrics"] = metrics
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			http.Error(w, "no "+r.URL.Path, http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"`+s.URL+`"}}],"users":[{"name":"u","user":{}}]}`)
}

func TestStatus(t *testing.T) {
	metrics := `# TYPE privatelink_build_info gauge
privatelink_build_info{version="v1"} 1
# TYPE privatelink_images_rewritten_total counter
privatelink_images_rewritten_total{source="ghcr.io"} 5
# TYPE privatelink_config_info gauge
privatelink_config_info{hash="44f0bbe888ba"} 1
# TYPE privatelink_config_last_load_successful gauge
privatelink_config_last_load_successful 1
`
	var fault findings
	var unseen reported
	for title, tc := range map[string]struct {
		wanted  int
		metrics string
		args    []string
		is      any // the kind of error; nil for none
		out     string
	}{
		"all is well":                  {1, metrics, []string{"--no-registry"}, nil, "5: 5 ghcr.io"},
		"the lock file is not there":   {1, metrics, nil, nil, "not asked: there is no lock file"},
		"a replica is missing":         {2, metrics, []string{"--no-registry"}, &fault, "1 of 2 replicas are ready"},
		"metrics cannot be read":       {1, "", []string{"--no-registry"}, &unseen, "not seen"},
		"the configuration is another": {1, strings.ReplaceAll(metrics, "44f0bbe888ba", "000000000000"), []string{"--no-registry"}, &fault, "the ConfigMap is 44f0bbe888ba"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Chdir(t.TempDir())
			c, out := newStatus(), &bytes.Buffer{}
			c.SilenceErrors, c.SilenceUsage = true, true
			c.SetOut(out)
			c.SetArgs(append(tc.args, "--kubeconfig", statusCluster(t, tc.wanted, tc.metrics)))
			err := c.ExecuteContext(t.Context())
			if (tc.is == nil) != (err == nil) || tc.is != nil && !errors.As(err, tc.is) {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(out.String(), tc.out) {
				t.Errorf("%s\ndoes not say %q", out, tc.out)
			}
		})
	}
}

func TestStatusAsJSONTellsWhatTheRegistryLacks(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	file := write(t, "lock.yaml", "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Lock\nregistry: "+host+"/castai\nimages:\n- {source: ghcr.io/a:1, target: "+host+"/castai/a:1, mediaType: m, size: 1, digest: sha256:"+strings.Repeat("0", 64)+"}\n")
	t.Setenv("DOCKER_CONFIG", filepath.Dir(file))
	c, out := newStatus(), &bytes.Buffer{}
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(out)
	c.SetArgs([]string{"-o", "json", "--lock", file, "--kubeconfig", statusCluster(t, 1, "")})
	var fault findings
	if err := c.ExecuteContext(t.Context()); !errors.As(err, &fault) {
		t.Errorf("error %v", err)
	}
	var s status.Status
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(s.Registry.Missing) != 1 || s.Registry.Missing[0] != host+"/castai/a:1" {
		t.Errorf("%+v", s.Registry)
	}
}
