// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	arv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
)

// injector is a mutating webhook that adds a sidecar to every pod, as service
// meshes do. Its name sorts after that of the webhook.
const (
	injector      = "zzz-injector"
	injected      = "injected"
	injectedImage = "ghcr.io/castai/images/injected:v1"
)

// inject answers a review as an injector does: one patch, once for each pod.
func inject(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	var p corev1.Pod
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := json.Unmarshal(review.Request.Object.Raw, &p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if sidecar(p) == "" {
		kind := admissionv1.PatchTypeJSONPatch
		review.Response.PatchType = &kind
		review.Response.Patch = fmt.Appendf(nil, `[{"op": "add", "path": "/spec/containers/-", "value": {"name": %q, "image": %q}}]`, injected, injectedImage)
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // the API server handles a client that disconnected
}

// sidecar is the image of the container that was injected, "" without one.
func sidecar(p corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		if c.Name == injected {
			return c.Image
		}
	}
	return ""
}

// startInjector registers the injector, which stays as long as the test.
func startInjector(t *testing.T) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(inject))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that end with it
	server.StartTLS()
	t.Cleanup(server.Close)
	path, fail, none, timeout := server.URL, arv1.Fail, arv1.SideEffectClassNone, int32(5)
	configurations := n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := configurations.Create(testCtx, &arv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: injector},
		Webhooks: []arv1.MutatingWebhook{{
			Name:         "sidecar.injector.test",
			ClientConfig: arv1.WebhookClientConfig{URL: &path, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
			Rules: []arv1.RuleWithOperations{{
				Operations: []arv1.OperationType{arv1.Create},
				Rule:       arv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: agentNamespace}},
			FailurePolicy:     &fail, SideEffects: &none, TimeoutSeconds: &timeout, AdmissionReviewVersions: []string{"v1"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := configurations.Delete(testCtx, injector, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// injectorAfterWebhook registers an injector that is called after the webhook. The
// API server reinvokes the webhook for every pod for which it was called before.
// For other pods it does not: docs/guide/operations.md, "Other injectors".
func injectorAfterWebhook(t *testing.T) {
	startInjector(t)
	want := n.Rules.Image(injectedImage).Target
	eventually(t, 10*time.Second, func(ctx context.Context) error {
		pods, err := n.Client.CoreV1().Pods(agentNamespace).List(ctx, metav1.ListOptions{LabelSelector: "load"})
		if err != nil {
			return err
		}
		count := 0
		for _, p := range pods.Items {
			if image := sidecar(p); image == want {
				count++
			}
		}
		if count < 3*rate {
			return fmt.Errorf("%d pods of the load have the sidecar with %s", count, want)
		}
		return nil
	})
	last := strings.Fields(kubectl(t, "", "get", "mutatingwebhookconfigurations", "--output=name"))
	slices.Sort(last)
	if got := last[len(last)-1]; strings.HasSuffix(got, deploy.ConfigurationName) || !strings.HasSuffix(got, injector) {
		t.Errorf("operations.md finds the injector by its name; the last one is %s", got)
	}
	p, err := n.Client.CoreV1().Pods(agentNamespace).Create(testCtx, pod("private-until-then", Registry+"/agent:v0.161.1"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if image := sidecar(*p); image != injectedImage || p.Annotations != nil {
		t.Errorf("the sidecar of a pod that was private: %q, annotations %v; the API server reinvokes the webhook now, and operations.md is out of date", image, p.Annotations)
	}
	now := int64(0)
	if err := n.Client.CoreV1().Pods(agentNamespace).Delete(testCtx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Error(err)
	}
}
