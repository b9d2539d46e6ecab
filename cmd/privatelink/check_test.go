// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// Without a lock file and without a route to public registries, check tells what is in
// the private registry, whatever selects the images.
func TestCheckNeedsTheRegistryAlone(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // there is no way out
	private := fakeregistry.Start(t)
	prefix := private.Host + "/castai"
	fakeregistry.Push(t, prefix+"/agent:v1", fakeregistry.MultiArch(t, 100, 1))
	const present, missing = "us-docker.pkg.dev/castai-hub/library/agent:v1", "ghcr.io/castai/images/agent:v2"
	chart := func(image string) string {
		dir := filepath.Join(t.TempDir(), "agent")
		if err := os.MkdirAll(filepath.Join(dir, "templates"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"Chart.yaml": "apiVersion: v2\nname: agent\nversion: 1.0.0\n", "templates/pod.yaml": strings.Replace(pod, "ghcr.io/castai/images/agent:v1", image, 1)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	cluster := func(image string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/api/v1/namespaces/castai-agent/pods" {
				_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"p","namespace":"castai-agent"},"spec":{"containers":[{"name":"a","image":"` + image + `"}]}}]}`))
				return
			}
			_, _ = w.Write([]byte(`{"items":[]}`))
		}))
		t.Cleanup(server.Close)
		return write(t, "kubeconfig", `{"apiVersion":"v1","kind":"Config","current-context":"prod","contexts":[{"name":"prod","context":{"cluster":"c","user":"u"}}],
			"clusters":[{"name":"c","cluster":{"server":"`+server.URL+`"}}],"users":[{"name":"u","user":{}}]}`)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a manifest":            {[]string{"-f", write(t, "pod.yaml", strings.Replace(pod, "ghcr.io/castai/images/agent:v1", present, 1))}, 0, "1 images: 1 present, 0 missing"},
		"a manifest, missing":   {[]string{"-f", write(t, "pod.yaml", strings.Replace(pod, "agent:v1", "agent:v2", 1))}, 3, "missing  " + prefix + "/agent:v2"},
		"a chart":               {[]string{"--chart", chart(present)}, 0, "1 present"},
		"a chart, missing":      {[]string{"--chart", chart(missing)}, 3, "1 missing"},
		"a cluster":             {[]string{"--cluster", "--kubeconfig", cluster(present)}, 0, "context   prod\n"},
		"a cluster, missing":    {[]string{"--cluster", "--kubeconfig", cluster(missing)}, 3, "1 missing"},
		"a set, not mirrored":   {[]string{"--set", "phase1"}, 3, "0 present"},
		"compared on request":   {[]string{"-f", write(t, "pod.yaml", strings.Replace(pod, "ghcr.io/castai/images/agent:v1", "registry.invalid/castai/agent:v1", 1)), "--update"}, 1, "1 failed"},
		"what was not compared": {[]string{"-f", write(t, "pod.yaml", pod)}, 0, "1 present images are not in the lock file, and were not compared with their sources: add --update for that"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"check", "--registry", prefix, "--no-webhook-image", "--lock", filepath.Join(t.TempDir(), "none.yaml")}, tc.args...)
			code, stdout, stderr := call(t, nil, "", args...)
			if code != tc.code || !strings.Contains(stdout, tc.says) || !strings.Contains(stdout, "registry  "+prefix+"\n") {
				t.Errorf("code %d, want %d, %q:\n%s%s", code, tc.code, tc.says, stdout, stderr)
			}
		})
	}
	_, stdout, _ := call(t, nil, "", "check", "--registry", prefix, "--no-webhook-image", "--lock", "none.yaml", "-f", write(t, "pod.yaml", pod), "-o", "json")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var summary struct {
		Target struct{ Registry string }
		Images []struct {
			State      string
			Uncompared bool
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &summary); err != nil || summary.Target.Registry != prefix || len(summary.Images) != 1 || !summary.Images[0].Uncompared || summary.Images[0].State != "present" {
		t.Errorf("%v, %+v", err, summary)
	}
}
