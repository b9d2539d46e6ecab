// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
	"github.com/castai/privatelink-webhook/internal/testutil/pty"
)

// recorded are the commands of the page, in its order. The second lock file lists an
// image that the registry does not have.
var recorded = []struct{ title, command string }{
	{"`mirror` copies images", "mirror --config privatelink.yaml -f pods.yaml"},
	{"`check` finds all images", "check --config privatelink.yaml"},
	{"`check` finds that an image is missing", "check --config privatelink.yaml --lock next.lock.yaml"},
	{"`status` without errors", "status"},
	{"`status` with a missing image", "status --lock next.lock.yaml"},
	{"`doctor` without failures", "doctor --only registry --skip registry/node-role"},
	{"`doctor` with a missing image", "doctor --only registry --skip registry/node-role --lock next.lock.yaml"},
}

// The page shows what the commands display on a terminal of 120 columns.
func TestTheReferenceHasRecordings(t *testing.T) {
	public, private := public(t), fakeregistry.Start(t)
	prefix := private.Host + "/castai"
	fakeregistry.Push(t, prefix+"/privatelink-webhook:v0.2.0", fakeregistry.MultiArch(t, 100, 9))
	var manifest strings.Builder
	for i, name := range []string{"agent", "kvisor"} {
		ref := public + "/castai/" + name + ":v1"
		fakeregistry.Push(t, strings.Replace(ref, "0.0.0.0", "127.0.0.1", 1), fakeregistry.MultiArch(t, 3000, uint64(i+1)))
		fmt.Fprintf(&manifest, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: main, image: %q}]}\n", name, ref)
	}
	config := "registry: " + prefix + "\nrules: [{source: \"" + public + "/castai\", target: hub}]\n"
	server := recordedCluster(t, prefix, config)
	kubeconfig := `{"apiVersion":"v1","kind":"Config","current-context":"prod","contexts":[{"name":"prod","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":"` + server + `"}}],"users":[{"name":"u","user":{}}]}`
	dir := t.TempDir()
	for name, text := range map[string]string{"privatelink.yaml": config, "pods.yaml": manifest.String(), "kubeconfig": kubeconfig} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hosts := strings.NewReplacer(private.Host, "registry.example.com", public, "public.example.com", server, "https://kubernetes.example.com")
	var page strings.Builder
	for _, r := range recorded {
		args := strings.Fields(r.command)
		env := []string{"PRIVATELINK_REGISTRY=", "KUBECONFIG=" + filepath.Join(dir, "kubeconfig"), "DOCKER_CONFIG=" + dir}
		if args[0] == "mirror" {
			env = append(env, "PRIVATELINK_NO_WEBHOOK_IMAGE=true", "PRIVATELINK_PLAIN_HTTP="+public)
		}
		cmd := startable(t, env, args...)
		cmd.Dir = dir
		displayed, _ := pty.Run(t, 120, cmd) // the exit code is shown
		fmt.Fprintf(&page, "%s:\n\n```text\n$ privatelink %s\n%s$ echo $?\n%d\n```\n\n", r.title, r.command, hosts.Replace(readable(displayed)), cmd.ProcessState.ExitCode())
		if args[0] == "mirror" {
			lock, err := os.ReadFile(filepath.Join(dir, "privatelink.lock.yaml"))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "next.lock.yaml"), []byte(strings.ReplaceAll(string(lock), "agent:v1", "agent:v2")), 0o600)
			}
			if err != nil {
				t.Fatal(err, displayed)
			}
		}
	}
	comparePart(t, "../../docs/reference/output.md", "<!-- recordings: go test ./cmd/privatelink -update -->\n", page.String())
}

// recordedCluster starts an API server with a webhook of one replica and one node, and
// returns its URL.
func recordedCluster(t *testing.T, prefix, config string) (url string) {
	t.Helper()
	now, hash := time.Now(), sha256.Sum256([]byte(config))
	metrics := fmt.Sprintf(`# TYPE privatelink_build_info gauge
privatelink_build_info{version="v0.2.0"} 1
# TYPE process_start_time_seconds gauge
process_start_time_seconds %d
# TYPE privatelink_images_rewritten_total counter
privatelink_images_rewritten_total{source="us-docker.pkg.dev"} 47
# TYPE privatelink_certificate_not_after_seconds gauge
privatelink_certificate_not_after_seconds{certificate="leaf"} %d
privatelink_certificate_not_after_seconds{certificate="ca"} %d
# TYPE privatelink_config_info gauge
privatelink_config_info{hash="%s"} 1
# TYPE privatelink_config_last_load_successful gauge
privatelink_config_last_load_successful 1
# TYPE privatelink_config_last_load_success_timestamp_seconds gauge
privatelink_config_last_load_success_timestamp_seconds %[1]d
`, now.Add(-76*time.Hour-time.Minute).Unix(), now.Add(60*time.Hour+30*time.Minute).Unix(), now.Add(365*24*time.Hour+30*time.Minute).Unix(), hex.EncodeToString(hash[:])[:12])
	pod := `{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"privatelink-webhook-0","namespace":"castai-privatelink"},"spec":{"nodeName":"n","containers":[{"name":"w","ports":[{"name":"metrics","containerPort":8080}]}]},
		"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}]}`
	responses := map[string]string{
		"/deployments/privatelink-webhook": `{"spec":{"replicas":1,"selector":{"matchLabels":{"app":"w"}},"template":{"spec":{"containers":[{"name":"w","image":"` + prefix + `/privatelink-webhook:v0.2.0"}],"volumes":[{"configMap":{"name":"privatelink-webhook"}}]}}}}`,
		"/configmaps/privatelink-webhook":  `{"metadata":{"name":"privatelink-webhook"},"data":{"privatelink.yaml":` + strconv.Quote(config) + `}}`,
		"/castai-privatelink/pods":         pod, "/nodes": `{"items":[{"metadata":{"name":"n"},"status":{"nodeInfo":{"operatingSystem":"linux","architecture":"amd64"}}}]}`,
		"/proxy/metrics": metrics, "/version": `{"gitVersion":"v1.37.0"}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for path, text := range responses {
			if strings.HasSuffix(r.URL.Path, path) {
				fmt.Fprint(w, text)
				return
			}
		}
		if strings.HasSuffix(r.URL.Path, "s") { // a list
			fmt.Fprint(w, `{"items":[]}`)
			return
		}
		http.Error(w, `{"kind":"Status","apiVersion":"v1","reason":"NotFound","code":404}`, http.StatusNotFound)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

var (
	redraw = regexp.MustCompile(`\x1b\[(\d+)A\x1b\[J`)
	style  = regexp.MustCompile(`\x1b\[\d*m`)
	// variable is what differs between two recordings, and fixed what replaces it.
	variable = []struct{ variable, fixed string }{
		{`(?m)^(bytes .* KiB / \S+ KiB).*$`, "$1 1.0 MiB/s 0s"},
		{`in [0-9.]+m?s\b`, "in 1.5s"},
		{`(?m)^(certificate +until) \S+ \S+`, "$1 2027-03-06 17:06:07"},
		{`(?m)^(CA +until) \S+ \S+`, "$1 2028-03-03 05:06:07"},
		{`\b[0-9a-f]{12}, loaded`, "0123456789ab, loaded"},
		{`(?m)^(privatelink \S+) dev$`, "$1 v0.2.0"},
	}
)

// readable returns what remains on a terminal in the end, without styles, and with fixed
// times.
func readable(displayed string) string {
	for {
		at := redraw.FindStringSubmatchIndex(displayed)
		if at == nil {
			break
		}
		lines := strings.SplitAfter(displayed[:at[0]], "\n")
		up, _ := strconv.Atoi(displayed[at[2]:at[3]])
		displayed = strings.Join(lines[:max(0, len(lines)-1-up)], "") + displayed[at[1]:]
	}
	text := style.ReplaceAllString(displayed, "")
	for _, v := range variable {
		text = regexp.MustCompile(v.variable).ReplaceAllString(text, v.fixed)
	}
	var lines strings.Builder
	for line := range strings.Lines(text) {
		lines.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return lines.String()
}
