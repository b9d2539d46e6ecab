// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

// Faults under load. No pod may be stored with a public image, and every creation
// must succeed when it is retried. Planned operations must not cause a retry.
// Only while the webhook configuration does not exist are pods stored unchanged.
func TestFaults(t *testing.T) {
	install(t)
	kubectl(t, "", "create", "namespace", agentNamespace)
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		_, err := n.Client.CoreV1().ServiceAccounts(agentNamespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	reportf("\n%-48s %8s %8s %8s %8s %10s", "under load of "+fmt.Sprint(rate)+" pods a second", "created", "retried", "failed", "public", "longest")
	var gone enforcementGap // of the fault that deletes the configuration
	for _, fault := range []struct {
		name    string
		planned bool // no creation may need a retry
		cause   func(*testing.T)
	}{
		{nothing, true, func(*testing.T) { time.Sleep(3 * time.Second) }},
		{"rolling update of the webhook", true, rollingUpdate},
		{"kill -9 of one replica", false, func(t *testing.T) { kill(t, 1) }},
		{"kill -9 of both replicas", false, func(t *testing.T) { kill(t, 2) }},
		{"restart of the API server", false, func(t *testing.T) { restart(t, cluster.APIServer) }},
		{"restart of etcd", false, func(t *testing.T) { restart(t, cluster.Etcd) }},
		{"CA Secret emptied", false, emptySecret},
		{"CA Secret deleted, and applied again", false, deleteSecret},
		{"caBundle blanked", false, blankBundle},
		{"privatelink certs reset", true, func(t *testing.T) { privatelink(t, "certs", "reset", "--yes", "--context", cluster.Context) }},
		{"privatelink certs reset --now", false, func(t *testing.T) { privatelink(t, "certs", "reset", "--now", "--yes", "--context", cluster.Context) }},
		{"configuration with a fault, and put right", true, badConfig},
		{"an updated bundle is applied, and the former again", true, updated},
		{"clocks of the webhook 4 minutes ahead", true, clockSlightlyAhead},
		{"clocks an hour ahead, with a new CA, and put right", false, clockHourAhead},
		{"another webhook injects a public sidecar later", true, injectorAfterWebhook},
		{configurationDeleted, false, gone.deleted},
		{"kill -9 of kubelet and containerd", true, restartNode},
		{"reset of the node's machine", false, reboot},
	} {
		t.Run(fault.name, func(t *testing.T) {
			l := startLoad(t, fmt.Sprintf("load-%d", time.Now().UnixMilli()))
			time.Sleep(time.Second)
			fault.cause(t)
			time.Sleep(2 * time.Second) // late failures count as well
			stored := l.finish(t)
			public := stored
			if fault.name == configurationDeleted {
				public = gone.outside(t, stored)
			}
			reportf("%-48s %8d %8d %8d %8d %10s", fault.name, l.created, l.retried, l.failed, len(stored), l.longest.Round(10*time.Millisecond))
			if l.lastError != nil {
				reportf("    the last refusal: %v", l.lastError)
			}
			for _, p := range public {
				t.Errorf("pod %s was stored with %v", p.Name, imagesOf(p.Spec))
			}
			if l.failed > 0 || fault.planned && l.retried > 0 {
				t.Errorf("%d pods failed, %d had to be tried again; the last error: %v", l.failed, l.retried, l.lastError)
			}
			ready(t)
			if fault.name == nothing {
				admissionCost(t)
			}
		})
	}
	clean(t)
	kubectl(t, privatelink(t, "install", "--registry", Registry), "delete", "-f", "-", "--timeout=90s")
}

const (
	nothing              = "nothing"
	configurationDeleted = "webhook configuration deleted, and applied again"
)

func rollingUpdate(t *testing.T) {
	kubectl(t, "", "rollout", "restart", "--namespace", deploy.Namespace, "deployment/"+deploy.Name)
	ready(t)
	drained(t)
}

// drained waits until the pods of the previous rollout are gone.
func drained(t *testing.T) {
	t.Helper()
	eventually(t, 90*time.Second, func(ctx context.Context) error {
		pods, err := n.Client.CoreV1().Pods(deploy.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(pods.Items) != 2 {
			return fmt.Errorf("there are %d pods", len(pods.Items))
		}
		return nil
	})
}

func kill(t *testing.T, count int) {
	pids := webhooks(t)
	if len(pids) != 2 {
		t.Fatalf("%d processes of the webhook, want 2", len(pids))
	}
	for _, pid := range pids[:count] {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 60*time.Second, func(context.Context) error {
		now := webhooks(t)
		if len(now) != 2 || slices.ContainsFunc(pids[:count], func(pid int) bool { return slices.Contains(now, pid) }) {
			return fmt.Errorf("processes %v, after %v", now, pids)
		}
		return nil
	})
	ready(t)
}

func restart(t *testing.T, component string) {
	if err := n.Restart(testCtx, component); err != nil {
		t.Fatal(err)
	}
}

// authority returns the published CA.
func authority(ctx context.Context) (string, error) {
	c, err := n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, deploy.ConfigurationName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	first := c.Webhooks[0].ClientConfig.CABundle
	for _, w := range c.Webhooks {
		if len(w.ClientConfig.CABundle) == 0 || string(w.ClientConfig.CABundle) != string(first) {
			return "", errors.New("no authority is published, or not for all webhooks")
		}
	}
	return string(first), nil
}

// published waits until an authority other than before is published.
func published(t *testing.T, before string) {
	t.Helper()
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		now, err := authority(ctx)
		if err == nil && now == before {
			err = errors.New("the authority is the same as before")
		}
		return err
	})
}

func emptySecret(t *testing.T) {
	before, err := authority(testCtx)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "patch", "secret", "--namespace", deploy.Namespace, deploy.CASecret, "--type=json", `--patch=[{"op": "remove", "path": "/data"}]`)
	published(t, before)
}

func deleteSecret(t *testing.T) {
	before, err := authority(testCtx)
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "delete", "secret", "--namespace", deploy.Namespace, deploy.CASecret)
	time.Sleep(2 * time.Second) // the webhook cannot create it, and keeps serving
	kubectl(t, privatelink(t, "install", "--registry", Registry), "apply", "-f", "-")
	published(t, before)
}

func blankBundle(t *testing.T) {
	patch := []byte(`[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}, {"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]`)
	if _, err := n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(testCtx, deploy.ConfigurationName, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	published(t, "")
}

// badConfig breaks the configuration file. The webhook must keep the last valid
// one and report this in its metrics.
func badConfig(t *testing.T) {
	kubectl(t, "", "patch", "configmap", "--namespace", deploy.Namespace, deploy.Name, "--patch", `{"data": {"privatelink.yaml": "registry: https://nowhere\n"}}`)
	loaded(t, "0")
	kubectl(t, privatelink(t, "install", "--registry", Registry), "apply", "-f", "-")
	loaded(t, "1")
}

// loaded waits until the metrics of all replicas report want for the last load.
func loaded(t *testing.T, want string) {
	t.Helper()
	line := "\nprivatelink_config_last_load_successful " + want + "\n"
	eventually(t, 120*time.Second, func(ctx context.Context) error {
		pods, err := n.Client.CoreV1().Pods(deploy.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			text, err := n.Client.CoreV1().Pods(deploy.Namespace).ProxyGet("http", p.Name, "8080", "/metrics", nil).DoRaw(ctx)
			if err != nil {
				return err
			}
			if !strings.Contains(string(text), line) {
				return fmt.Errorf("%s lacks %q", p.Name, strings.TrimSpace(line))
			}
		}
		return nil
	})
}

func reboot(t *testing.T) {
	if err := n.Reboot(testCtx); err != nil {
		t.Fatal(err)
	}
	// The API server shows the old state until the kubelet reports.
	eventually(t, 90*time.Second, func(context.Context) error {
		if pids := webhooks(t); len(pids) != 2 {
			return fmt.Errorf("processes %v of the webhook", pids)
		}
		return nil
	})
	ready(t)
}

func restartNode(t *testing.T) {
	if err := n.RestartNode(testCtx); err != nil {
		t.Fatal(err)
	}
	ready(t)
}
