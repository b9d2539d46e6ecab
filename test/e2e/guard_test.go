// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

// injector is a webhook that adds a container with a public image to the pods
// of a namespace that ask for it, after all other webhooks.
func injector(t *testing.T, namespace string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionreview.AdmissionReview
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &review)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		patch := admissionreview.PatchTypeJSONPatch
		review.Response = &admissionreview.AdmissionResponse{UID: review.Request.UID, Allowed: true, PatchType: &patch,
			Patch: []byte(`[{"op":"add","path":"/spec/containers/-","value":{"name":"injected","image":"busybox:1.37"}}]`)}
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(server.Close)
	fail, none, never, url := admissionv1.Fail, admissionv1.SideEffectClassNone, admissionv1.NeverReinvocationPolicy, server.URL
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "zzz-injector"}, Webhooks: []admissionv1.MutatingWebhook{{
		Name: "injector.example.com", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none, ReinvocationPolicy: &never,
		ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
		Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
		ObjectSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"inject": "yes"}},
	}}}
	if _, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(testCtx, c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(testCtx, c.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 15*time.Second, func() error {
		p, _, err := shown(namespace, injectable("", target))
		if err == nil && len(p.Spec.Containers) != 2 {
			err = errors.New("nothing is injected yet")
		}
		if err != nil && strings.Contains(err.Error(), deploy.GuardName) {
			return nil // it was, and the guard denies it
		}
		return err
	})
}

func injectable(name, image string) *corev1.Pod {
	p := pod(name, image)
	p.Labels = map[string]string{"inject": "yes"}
	return p
}

// warnings collects what the API server warns of.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// shown creates a pod for show, with a client that hears warnings.
func shown(namespace string, p *corev1.Pod) (*corev1.Pod, []string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", h.Kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	heard := &warnings{}
	config.WarningHandler = heard
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(testCtx, 15*time.Second)
	defer cancel()
	if p.Name == "" {
		p.GenerateName = "shown-"
	}
	p, err = client.CoreV1().Pods(namespace).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return p, heard.texts, err
}

// TestTheGuard removes what should rewrite a pod, in the ways in which that
// happens, and looks whether the guard sees it: once as a warning, and once as
// a refusal.
func TestTheGuardSeesWhatGetsPast(t *testing.T) {
	shipped(t)
	namespace(t, Namespace)
	namespace(t, plain)
	t.Cleanup(func() {
		kubectl(t, nil, "apply", "-k", tree(t))
		webhookReady(t)
		eventually(t, 15*time.Second, rewritten)
		awaitGuard(t, "warn")
	})
	for _, guard := range []string{"warn", "deny"} {
		kubectl(t, privatelink(t, "install", "--registry", ecr, "--guard", guard), "apply", "-f", "-")
		awaitGuard(t, guard)
		t.Run(guard+": a rewritten pod passes in silence", func(t *testing.T) {
			eventually(t, 15*time.Second, rewritten)
			if _, said, err := shown(Namespace, pod("", public)); err != nil || len(said) > 0 {
				t.Errorf("%v, warnings %q", err, said)
			}
		})
		t.Run(guard+": a later injector", func(t *testing.T) {
			injector(t, Namespace)
			seen(t, guard, injectable("", target), `first "busybox:1.37"`)
		})
		t.Run(guard+": the webhook's configuration is deleted", func(t *testing.T) {
			kubectl(t, nil, "delete", "mutatingwebhookconfiguration", deploy.ConfigurationName)
			seen(t, guard, pod("", public), `first "`+public+`"`)
			if _, said, err := shown(Namespace, pod("", target)); err != nil || len(said) > 0 {
				t.Errorf("a private pod: %v, warnings %q", err, said)
			}
			if _, said, err := shown(plain, pod("", public)); err != nil || len(said) > 0 {
				t.Errorf("another namespace: %v, warnings %q", err, said)
			}
			kubectl(t, privatelink(t, "install", "--registry", ecr, "--guard", guard), "apply", "-f", "-")
			webhookReady(t)
			eventually(t, 15*time.Second, rewritten)
		})
		t.Run(guard+": the webhook is down, with Ignore", func(t *testing.T) {
			kubectl(t, privatelink(t, "install", "--registry", ecr, "--guard", guard, "--failure-policy", "Ignore"), "apply", "-f", "-")
			t.Cleanup(func() {
				h.Kubelet.Recover()
				kubectl(t, privatelink(t, "install", "--registry", ecr, "--guard", guard), "apply", "-f", "-")
				webhookReady(t)
				eventually(t, 15*time.Second, rewritten)
			})
			h.Kubelet.Crash()
			seen(t, guard, pod("", public), `first "`+public+`"`)
		})
	}
}

// awaitGuard returns when the API server has read the guard's binding.
func awaitGuard(t *testing.T, guard string) {
	t.Helper()
	left := "Registry.Example.COM/team/app:v1" // it cannot be mapped
	eventually(t, 15*time.Second, func() error {
		_, said, err := shown(Namespace, pod("", left))
		switch guarded := strings.Contains(strings.Join(said, "\n"), deploy.GuardName); {
		case guard == "warn" && (err != nil || !guarded):
			return fmt.Errorf("no warning yet: %v", err)
		case guard == "deny" && (err == nil || !strings.Contains(err.Error(), deploy.GuardName)):
			return fmt.Errorf("not denied yet: %v", err)
		}
		return nil
	})
}

// seen fails the test if the guard does not come to see the pod.
func seen(t *testing.T, guard string, p *corev1.Pod, want string) {
	t.Helper()
	err := harness.Eventually(testCtx, 20*time.Second, func(context.Context) error {
		_, said, err := shown(Namespace, p.DeepCopy())
		text := strings.Join(said, "\n")
		if guard == "deny" {
			if err == nil {
				return fmt.Errorf("not denied, warnings %q", said)
			}
			text = err.Error()
		} else if err != nil {
			return err
		}
		if !strings.Contains(text, deploy.GuardName) || !strings.Contains(text, want) {
			return fmt.Errorf("message %q, want %s", text, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
