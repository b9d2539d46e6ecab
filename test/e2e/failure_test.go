// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

// deployment is a workload that is created while the webhook is down.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: workload, namespace: castai-agent}
spec:
  selector: {matchLabels: {app: workload}}
  template:
    metadata: {labels: {app: workload}}
    spec: {containers: [{name: main, image: "` + public + `"}]}
`

func TestWebhookDown(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	namespace(t, plain)
	create(t, Namespace, pod("there-before", target))
	installWithConfig(t, config+extra)
	crash(t)

	t.Run("a pod with a public image is refused, and the message names the webhook", func(t *testing.T) {
		_, err := try(testCtx, Namespace, public)
		if err == nil || !strings.Contains(err.Error(), `failed calling webhook "pods.privatelink.cast.ai"`) {
			t.Errorf("error %v, want one that names the webhook", err)
		}
	})
	t.Run("a pod with a private image passes", func(t *testing.T) {
		if got, err := try(testCtx, Namespace, target); got != target || err != nil {
			t.Errorf("image %q (%v), want %q", got, err, target)
		}
	})
	t.Run("a pod with a kept image passes, because the API server does not call the webhook", func(t *testing.T) {
		if got, err := try(testCtx, Namespace, "quay.io/acme/kept/a:1"); got != "quay.io/acme/kept/a:1" || err != nil {
			t.Errorf("image %q (%v), want it unchanged", got, err)
		}
		if _, err := try(testCtx, Namespace, "quay.io/acme/tools/b:1"); err == nil {
			t.Error("an image with a rule passes, too")
		}
	})
	t.Run("a pod of another namespace passes", func(t *testing.T) {
		if got, err := try(testCtx, plain, public); got != public || err != nil {
			t.Errorf("image %q (%v), want %q", got, err, public)
		}
	})
	t.Run("a debug container is refused only if its image is public", func(t *testing.T) {
		debug := func(name, image string) error {
			_, err := h.Kubectl(testCtx, nil, "debug", "pod/there-before", "--namespace="+Namespace, "--image="+image, "--container="+name, "--attach=false", "--quiet")
			return err
		}
		if err := debug("public", "busybox:1.37"); err == nil || !strings.Contains(err.Error(), `failed calling webhook "ephemeral.privatelink.cast.ai"`) {
			t.Errorf("error %v, want one that names the webhook", err)
		}
		if err := debug("private", target); err != nil {
			t.Error(err)
		}
	})
	t.Run("a controller retries until the webhook is back", func(t *testing.T) {
		kubectl(t, []byte(deployment), "apply", "-f", "-")
		t.Cleanup(func() { kubectl(t, nil, "delete", "--namespace="+Namespace, "deployment/workload") })
		selector := metav1.ListOptions{LabelSelector: "app=workload"}
		eventually(t, 10*time.Second, func() error {
			out := kubectl(t, nil, "get", "--namespace="+Namespace, "deployment/workload", "-o", "jsonpath={.status.conditions[?(@.type=='ReplicaFailure')].message}")
			if !strings.Contains(out, "pods.privatelink.cast.ai") {
				return fmt.Errorf("the Deployment's status is %q, want a failure of the webhook", out)
			}
			return nil
		})
		h.Kubelet.Recover()
		webhookReady(t)
		eventually(t, 60*time.Second, func() error {
			pods, err := h.Client.CoreV1().Pods(Namespace).List(testCtx, selector)
			if err != nil || len(pods.Items) != 1 {
				return errors.Join(errors.New("there is no pod"), err)
			}
			if got := pods.Items[0].Spec.Containers[0].Image; got != target {
				t.Errorf("image %q, want %q", got, target)
			}
			return nil
		})
	})
}

// crash kills the webhook for the rest of the test, or until Recover.
func crash(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		h.Kubelet.Recover()
		webhookReady(t)
	})
	h.Kubelet.Crash()
	eventually(t, 15*time.Second, func() error {
		if _, err := try(testCtx, Namespace, public); err == nil {
			return errors.New("pods are still rewritten")
		}
		return nil
	})
}

func TestConfigurationDeletedWhileWebhookIsDown(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	crash(t)
	kubectl(t, nil, "delete", "mutatingwebhookconfiguration", deploy.ConfigurationName)
	eventually(t, 10*time.Second, func() error { // the API server sees the deletion by watch
		got, err := try(testCtx, Namespace, public)
		if err == nil && got != public {
			err = fmt.Errorf("image %q, want %q", got, public)
		}
		return err
	})
	h.Kubelet.Recover()
	kubectl(t, nil, "apply", "-k", tree(t))
	webhookReady(t)
	eventually(t, 15*time.Second, rewritten)
}

func TestAPIServerRestart(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	endWatch := watchStatus(t)
	if err := h.Restart(testCtx, cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	endWatch("cannot read the cluster: ", "the cluster can be read again, after ")
	// A ready API server may not have read all webhook configurations.
	eventually(t, 10*time.Second, rewritten)
	webhookReady(t)
	p := create(t, Namespace, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "after-restart"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: public}}},
	})
	if got := p.Spec.Containers[0].Image; got != target {
		t.Errorf("image %q, want %q", got, target)
	}
}

// watchStatus watches the status in the background. The function that it returns waits
// until the watch has written some texts, and ends it as Ctrl-C does.
func watchStatus(t *testing.T) (end func(want ...string)) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "watch"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	cmd := exec.CommandContext(testCtx, h.CLI(), "status", "--watch", "--interval", "1s", "--no-registry", "--kubeconfig", h.Kubeconfig)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	has := func(want ...string) {
		eventually(t, time.Minute, func() error {
			text, err := os.ReadFile(log.Name())
			for _, w := range want {
				if err == nil && !strings.Contains(string(text), w) {
					err = fmt.Errorf("the watch has not written %q:\n%s", w, text)
				}
			}
			return err
		})
	}
	has("replica ")
	return func(want ...string) {
		has(want...)
		if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
			t.Errorf("the watch did not end well: %v", err)
		}
	}
}
