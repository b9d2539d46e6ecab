// SPDX-License-Identifier: Apache-2.0

//go:build monitoring

package monitoring

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/webhook"
)

// dashboardExpressions are the queries of the shipped dashboard, by the titles of panels.
func dashboardExpressions(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, p := range dashboardPanels(t) {
		for _, q := range p.Queries {
			all[p.Title] = append(all[p.Title], strings.ReplaceAll(q.Expr, "$__rate_interval", "4m"))
		}
	}
	return all
}

// foreign are the metrics of the API server, of kube-state-metrics and of Prometheus that
// the alerts use.
// https://kubernetes.io/docs/reference/instrumentation/metrics/
// https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics
func foreign() []string {
	return []string{
		"apiserver_admission_webhook_rejection_count", "apiserver_admission_webhook_fail_open_count",
		"kube_pod_container_status_waiting_reason", "kube_pod_init_container_status_waiting_reason",
		"kube_cronjob_status_last_successful_time", "kube_cronjob_created", "kube_mutatingwebhookconfiguration_info", "up",
	}
}

var (
	inMetrics = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)`)
	noName    = regexp.MustCompile(`\{[^}]*\}|\[[^]]*\]|\b(by|on|without|group_left|ignoring)\s*\([^)]*\)|"[^"]*"`)
	nameIn    = regexp.MustCompile(`\b(up|[a-z][a-z0-9]*[_:][a-z0-9_:]*[a-z0-9])\b\s*(\(?)`)
)

// served are the metrics that the webhook serves from its start.
func served(t *testing.T) map[string]bool {
	t.Helper()
	metrics := webhook.NewMetrics("test")
	file := filepath.Join(t.TempDir(), "privatelink.yaml")
	if err := os.WriteFile(file, []byte("registry: "+registry+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.NewConfigFile(webhook.ConfigFileConfig{Path: file, Metrics: metrics}); err != nil {
		t.Fatal(err)
	}
	metrics.WatchCertificate(func() (leaf, ca time.Time) { return time.Now(), ca })
	response := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	names := map[string]bool{}
	for _, m := range inMetrics.FindAllStringSubmatch(response.Body.String(), -1) {
		names[m[1]] = true
		if m[2] == "histogram" {
			names[m[1]+"_bucket"] = true
		}
	}
	return names
}

// Each metric in an alert or a panel is one that the webhook serves, that a rule records,
// or that is listed.
func TestExpressionsNameMetricsThatExist(t *testing.T) {
	known := served(t)
	for _, name := range foreign() {
		known[name] = true
	}
	expressions := dashboardExpressions(t)
	for _, g := range shipped(t).Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				known[r.Record] = true
			}
			expressions[r.Alert+r.Record] = append(expressions[r.Alert+r.Record], r.Expr)
		}
	}
	for where, all := range expressions {
		found := 0
		for _, expression := range all {
			for _, m := range nameIn.FindAllStringSubmatch(noName.ReplaceAllString(expression, " "), -1) {
				if m[2] == "(" {
					continue // a function
				}
				if found++; !known[m[1]] {
					t.Errorf("%s: there is no metric %s: %s", where, m[1], expression)
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: no metric is named: %v", where, all)
		}
	}
}
