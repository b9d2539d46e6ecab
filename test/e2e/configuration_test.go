// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/privatelink-webhook/deploy"
)

const (
	config = "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Config\nregistry: \"" + ecr + "\"\n"
	extra  = "keep: [quay.io/acme/kept]\nrules:\n- {source: quay.io/acme/tools, target: tools}\n"
)

// setConfig writes the ConfigMap, and puts it back after the test.
func setConfig(t *testing.T, text string) {
	t.Helper()
	patch := func(text string) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"data": map[string]string{deploy.ConfigKey: text}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Client.CoreV1().ConfigMaps(deploy.Namespace).Patch(testCtx, deploy.Name, types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := h.Client.CoreV1().ConfigMaps(deploy.Namespace).Get(testCtx, deploy.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { patch(c.Data[deploy.ConfigKey]) })
	patch(text)
}

// awaitMapping waits until every replica maps the images as wanted.
func awaitMapping(t *testing.T, want map[string]string) {
	t.Helper()
	eventually(t, 15*time.Second, func() error {
		for range 4 { // two replicas answer in turn
			for source, target := range want {
				if got, err := try(testCtx, Namespace, source); err != nil || got != target {
					return fmt.Errorf("%s became %q (%v), want %s", source, got, err, target)
				}
			}
		}
		return nil
	})
}

func TestAConfigurationThatChangesTakesEffectWithoutARestart(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	before := h.Kubelet.Pods()
	mapped := map[string]string{"quay.io/acme/kept/a:1": "quay.io/acme/kept/a:1", "quay.io/acme/tools/b:1": ecr + "/tools/b:1", public: target}
	setConfig(t, config+extra)
	awaitMapping(t, mapped)

	setConfig(t, config+extra+"registri: typo\n")
	eventually(t, 15*time.Second, func() error {
		for _, p := range h.Kubelet.Pods() {
			if got := metric(t, p.Address, "privatelink_config_last_load_successful"); got != "0" {
				return fmt.Errorf("the metric of %s is %q, want 0", p.Name, got)
			}
		}
		return nil
	})
	awaitMapping(t, mapped) // the last good one
	if got := h.Kubelet.Pods(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("pods %v, want those from before: %v", got, before)
	}
}

// installWithConfig installs the bundle with a configuration file, from which
// privatelink install also renders the conditions under which the API server
// asks. The shipped one comes back after the test.
func installWithConfig(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), deploy.ConfigKey)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, privatelink(t, "install", "--config", file), "apply", "-f", "-")
	t.Cleanup(func() {
		kubectl(t, nil, "apply", "-k", tree(t))
		awaitMapping(t, map[string]string{"quay.io/acme/kept/a:1": ecr + "/quay.io/acme/kept/a:1"})
	})
	awaitMapping(t, map[string]string{"quay.io/acme/kept/a:1": "quay.io/acme/kept/a:1", "quay.io/acme/tools/b:1": ecr + "/tools/b:1"})
}

// metric reads one value from a pod's metrics.
func metric(t *testing.T, address, name string) string {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + net.JoinHostPort(address, "8080") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return value
		}
	}
	t.Fatalf("%s has no metric %s", address, name)
	return ""
}
