// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
	"github.com/castai/privatelink-webhook/internal/testutil/prometheus"
)

// alertsOf are the faults of a customer's cluster that have alerts. The other faults fire
// none.
func alertsOf() map[string][]string {
	return map[string][]string{
		"webhook configuration deleted":              {"PrivatelinkConfigurationDeleted"},
		"the control plane does not reach port 9443": {"PrivatelinkPodsRefused"},
		"a pod from before the webhook":              {"PrivatelinkImagesMissing"},
		"configuration with a fault":                 {"PrivatelinkConfigRefused"},
		"webhook scaled to 0":                        {"PrivatelinkPodsRefused", "PrivatelinkWebhookDown"},
		"one replica only":                           {"PrivatelinkWebhookNotRedundant"},
		"webhook not installed":                      {"PrivatelinkPodsRefused", "PrivatelinkWebhookDown"},
		"Service with a wrong target port":           {"PrivatelinkPodsRefused"},
		"Service that selects no pod":                {"PrivatelinkPodsRefused"},
		"a pod whose image is not in ECR":            {"PrivatelinkImagesMissing"},
		"caBundle of another CA":                     {"PrivatelinkCertificateDistrusted", "PrivatelinkPodsRefused"},
		"caBundle lost":                              {"PrivatelinkCertificateDistrusted", "PrivatelinkPodsRefused"},
	}
}

// alertsFaster is how much faster time passes than with the shipped rules: 20 minutes are
// five seconds.
const alertsFaster = 240

// An alertWatch is a Prometheus that scrapes the node, with the shipped rules, and pods that
// are created for show, so that the API server calls the webhook.
type alertWatch struct {
	address  string
	alerts   []string
	observed []string // faults
}

// watchAlerts starts it. It ends with the test.
func watchAlerts(t *testing.T) *alertWatch {
	t.Helper()
	rules, err := prometheus.Shipped(n.Root)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := prometheus.Find(n.prometheus())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, rulesFile := filepath.Join(dir, "prometheus.yaml"), filepath.Join(dir, "rules.yaml")
	if err := write(map[string]string{config: scrapes(t, podStates(t), rulesFile), rulesFile: text(t, rules.Faster(alertsFaster))}); err != nil {
		t.Fatal(err)
	}
	w := &alertWatch{address: "127.0.0.1:9090", alerts: rules.Alerts()}
	ctx, stop := context.WithCancel(testCtx)
	cmd := exec.CommandContext(ctx, programs.Prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+w.address, "--log.level=warn")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("Prometheus: %.2000s", &said)
		}
	})
	go createForShow(ctx)
	eventually(t, 60*time.Second, func(ctx context.Context) error { // as long ago as the longest window of an alert
		got, err := w.ask(ctx, "count by (job) (up offset 6s == 1)")
		if err == nil && len(got) != 3 {
			err = fmt.Errorf("Prometheus scrapes %v", got)
		}
		return err
	})
	return w
}

// scrapes is the configuration of Prometheus. Debian's knows no Kubernetes, so that the test
// tells it of pods.
func scrapes(t *testing.T, states, rulesFile string) string {
	t.Helper()
	kubeconfig, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	hostOf := func(address string) string { _, host, _ := strings.Cut(address, "://"); return host }
	return text(t, object{
		"global":     object{"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
		"rule_files": []string{rulesFile},
		"scrape_configs": []object{
			{
				"job_name":        deploy.Namespace + "/" + deploy.Name,
				"http_sd_configs": []object{{"url": states + "/targets", "refresh_interval": "1s"}},
			},
			{
				"job_name": "apiserver", "scheme": "https", "scrape_interval": "1s", "scrape_timeout": "1s", "tls_config": object{"insecure_skip_verify": true},
				"authorization": object{"credentials": kubeconfig.BearerToken}, "static_configs": []object{{"targets": []string{hostOf(kubeconfig.Host)}}},
			},
			{"job_name": "kube-state-metrics", "honor_labels": true, "static_configs": []object{{"targets": []string{hostOf(states)}}}},
		},
	})
}

func text(t *testing.T, value any) string {
	t.Helper()
	out, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// podStates serves which containers wait for what and the webhook configurations, as
// kube-state-metrics does, and the webhook's pods, as the operator finds them: by the label and the port that the PodMonitor
// has.
func podStates(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		writeConfigurations(w, r)
		for _, p := range podsOf(w, r, "", metav1.ListOptions{}) {
			for metric, containers := range map[string][]corev1.ContainerStatus{"kube_pod_container": p.Status.ContainerStatuses, "kube_pod_init_container": p.Status.InitContainerStatuses} {
				for _, c := range containers {
					if c.State.Waiting != nil && c.State.Waiting.Reason != "" {
						fmt.Fprintf(w, "%s_status_waiting_reason{namespace=%q,pod=%q,container=%q,reason=%q} 1\n", metric, p.Namespace, p.Name, c.Name, c.State.Waiting.Reason)
					}
				}
			}
		}
	})
	mux.HandleFunc("/targets", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		targets := []map[string][]string{}
		for _, p := range podsOf(w, r, deploy.Namespace, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + deploy.Name}) {
			for _, port := range p.Spec.Containers[0].Ports {
				if port.Name == "metrics" && p.Status.PodIP != "" {
					targets = append(targets, map[string][]string{"targets": {fmt.Sprintf("%s:%d", p.Status.PodIP, port.ContainerPort)}})
				}
			}
		}
		_ = json.NewEncoder(w).Encode(targets) // a client that is gone
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// writeConfigurations writes the webhook configurations, with one that EKS has.
func writeConfigurations(w http.ResponseWriter, r *http.Request) {
	all, err := n.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(r.Context(), metav1.ListOptions{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, `kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration="pod-identity-webhook"} 1`)
	for _, c := range all.Items {
		fmt.Fprintf(w, "kube_mutatingwebhookconfiguration_info{mutatingwebhookconfiguration=%q} 1\n", c.Name)
	}
}

func podsOf(w http.ResponseWriter, r *http.Request, namespace string, options metav1.ListOptions) []corev1.Pod {
	pods, err := n.Client.CoreV1().Pods(namespace).List(r.Context(), options)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return nil
	}
	return pods.Items
}

// createForShow creates a pod after the other; none is stored.
func createForShow(ctx context.Context) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "show-"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: loadImages[0]}}}}
	for ctx.Err() == nil {
		// Those that are refused are the API server's metric.
		_, _ = n.Client.CoreV1().Pods(agentNamespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		time.Sleep(200 * time.Millisecond)
	}
}

// ask returns the values of a label for which an expression has an answer.
func (w *alertWatch) ask(ctx context.Context, expression string) ([]string, error) {
	var answer struct {
		Result []struct{ Metric map[string]string }
	}
	if err := prometheus.Get(ctx, w.address, "query", url.Values{"query": {expression}}, &answer); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, r := range answer.Result {
		for _, value := range r.Metric {
			found[value] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// silent waits until the alerts of the fault before no longer fire.
func (w *alertWatch) silent(t *testing.T) {
	t.Helper()
	w.await(t, nil)
}

// observe waits until the alerts of a fault fire, and no other.
func (w *alertWatch) observe(t *testing.T, fault string) {
	t.Helper()
	w.await(t, alertsOf()[fault])
	w.observed = append(w.observed, fault)
}

func (w *alertWatch) await(t *testing.T, want []string) {
	t.Helper()
	eventually(t, 60*time.Second, func(ctx context.Context) error {
		fired, err := w.ask(ctx, `group by (alertname) (ALERTS{alertstate="firing"})`)
		if err == nil && !slices.Equal(fired, want) {
			err = fmt.Errorf("the alerts %v fire, want %v", fired, want)
		}
		return err
	})
}

// report compares the table of faults and alerts with that of the documentation. No fault
// of alertsOf may be left out.
func (w *alertWatch) report(t *testing.T) {
	t.Helper()
	for fault := range alertsOf() {
		if !slices.Contains(w.observed, fault) {
			t.Errorf("there is no fault %q", fault)
		}
	}
	golden.CompareSection(t, filepath.Join(n.Root, "docs", "verification.md"),
		"<!-- faults of the node: generated by go test -tags isolated -run TestDoctor ./test/isolated -update -->", "<!-- end -->", prometheus.Table(w.alerts, w.observed, alertsOf()))
}
