// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/status"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
	"github.com/castai/privatelink-webhook/webhook"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// scrape returns the metrics of the webhook's handler.
func scrape(t *testing.T, m *webhook.Metrics) io.Reader {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("HTTP %d", w.Code)
	}
	return w.Body
}

func TestReadParsesTheWebhooksMetrics(t *testing.T) {
	m := webhook.NewMetrics("v1.2.3")
	leaf, ca := now.Add(time.Hour), now.Add(48*time.Hour)
	m.WatchCertificate(func() (_, _ time.Time) { return leaf, ca })
	file := filepath.Join(t.TempDir(), "privatelink.yaml")
	if err := os.WriteFile(file, []byte("registry: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/castai\naNewSetting: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.NewConfigFile(webhook.ConfigFileConfig{Path: file, Metrics: m}); err != nil {
		t.Fatal(err)
	}
	r := status.Replica{Pod: "p"}
	if err := r.Read(scrape(t, m)); err != nil {
		t.Fatal(err)
	}
	if r.Started.IsZero() || r.ConfigLoaded.IsZero() || len(r.ConfigHash) != 12 {
		t.Errorf("started %v, loaded %v, hash %q", r.Started, r.ConfigLoaded, r.ConfigHash)
	}
	if _, ok := r.Rewritten["ghcr.io"]; !ok || len(r.Images) != 5 {
		t.Errorf("sources %v, outcomes %v", r.Rewritten, r.Images)
	}
	got := []any{r.Version, r.LeafEnds, r.CAEnds, r.ConfigRefused, r.ConfigIgnoredKeys, r.Panics, r.TLSRejected}
	if diff := cmp.Diff([]any{"v1.2.3", leaf, ca, false, 1, 0, 0}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefusesOtherText(t *testing.T) {
	for title, text := range map[string]string{"a page": "<html>", "nothing": "", "another program's metrics": "# TYPE up gauge\nup 1\n"} {
		t.Run(title, func(t *testing.T) {
			var r status.Replica
			if err := r.Read(strings.NewReader(text)); err == nil {
				t.Errorf("%+v", r)
			}
		})
	}
}

// replica returns a replica that has run for three days.
func replica(t *testing.T, pod string, rewritten int) status.Replica {
	t.Helper()
	r := status.Replica{Pod: pod, Node: "node-" + pod, Ready: true}
	text := fmt.Sprintf(`# TYPE privatelink_build_info gauge
privatelink_build_info{version="v0.4.0"} 1
# TYPE process_start_time_seconds gauge
process_start_time_seconds %d
# TYPE privatelink_reviews_total counter
privatelink_reviews_total{operation="create",result="rewritten"} %d
privatelink_reviews_total{operation="ephemeral",result="rewritten"} 1
privatelink_reviews_total{operation="create",result="unchanged"} 3
# TYPE privatelink_images_rewritten_total counter
privatelink_images_rewritten_total{source="ghcr.io"} 2
privatelink_images_rewritten_total{source="us-docker.pkg.dev"} %d
privatelink_images_rewritten_total{source="other"} 0
# TYPE privatelink_panics_total counter
privatelink_panics_total 0
# TYPE privatelink_tls_distrusted_total counter
privatelink_tls_distrusted_total 4
# TYPE privatelink_certificate_not_after_seconds gauge
privatelink_certificate_not_after_seconds{certificate="leaf"} %d
privatelink_certificate_not_after_seconds{certificate="ca"} %d
# TYPE privatelink_config_info gauge
privatelink_config_info{hash="0123456789ab"} 1
# TYPE privatelink_config_last_load_successful gauge
privatelink_config_last_load_successful 1
# TYPE privatelink_config_ignored_keys gauge
privatelink_config_ignored_keys 0
# TYPE privatelink_config_last_load_success_timestamp_seconds gauge
privatelink_config_last_load_success_timestamp_seconds %d
`, now.Add(-76*time.Hour).Unix(), rewritten, rewritten, now.Add(150*time.Hour).Unix(), now.Add(365*24*time.Hour).Unix(), now.Add(-90*time.Minute).Unix())
	if err := r.Read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestScreen(t *testing.T) {
	healthy := func(t *testing.T) status.Status {
		return status.Status{Wanted: 2, ConfigHash: "0123456789ab", Registry: status.Registry{Images: 60}, Replicas: []status.Replica{replica(t, "webhook-a", 40), replica(t, "webhook-b", 7)}}
	}
	for title, tc := range map[string]struct {
		change          func(*status.Status)
		errors, unknown int
	}{
		"healthy":              {func(*status.Status) {}, 0, 0},
		"registry not checked": {func(s *status.Status) { s.Registry = status.Registry{NotChecked: "--no-registry"} }, 0, 0},
		"images missing": {func(s *status.Status) {
			s.Registry.Missing, s.Registry.Differs = []string{"r/a:1", "r/b:1", "r/c:1", "r/d:1"}, []string{"r/e:1"}
		}, 2, 0},
		"pods wait for missing images": {func(s *status.Status) {
			s.Waiting = status.Waiting{Pods: 2, Images: []string{"r/a:1", "r/b:1"}, Missing: []string{"r/a:1"}}
		}, 1, 0},
		"pods wait for images that are there": {func(s *status.Status) {
			s.Waiting = status.Waiting{Pods: 1, Images: []string{"r/a:1"}}
		}, 1, 0},
		"waiting pods unknown": {func(s *status.Status) { s.Waiting.NotListed = "pods is forbidden" }, 0, 1},
		"a replica does not answer": {func(s *status.Status) {
			s.Replicas[1] = status.Replica{Pod: "webhook-b", Error: "connection refused"}
		}, 1, 1},
		"configuration refused": {func(s *status.Status) { s.ConfigHash, s.Replicas[0].ConfigRefused = "ba9876543210", true }, 2, 0},
		"keys ignored":          {func(s *status.Status) { s.Replicas[0].ConfigIgnoredKeys = 2 }, 1, 0},
		"configurations differ": {func(s *status.Status) { s.Replicas[0].ConfigHash = "ba9876543210" }, 1, 0},
		"ConfigMap unknown":     {func(s *status.Status) { s.ConfigHash, s.ConfigError = "", "forbidden" }, 0, 1},
		"certificate expired":   {func(s *status.Status) { s.Replicas[0].LeafEnds = now.Add(-time.Hour) }, 1, 0},
		"the mirror has stopped": {func(s *status.Status) {
			s.Mirror = status.Mirror{MaxAge: 3 * time.Hour, CronJob: "castai-mirror/privatelink-mirror", Since: now.Add(-5 * time.Hour), Succeeded: true, Active: 1}
		}, 1, 0},
		"no replica": {func(s *status.Status) { s.Replicas = nil }, 1, 0},
	} {
		t.Run(title, func(t *testing.T) {
			s := healthy(t)
			tc.change(&s)
			s.Sum()
			if f := s.Evaluate(now); len(f.Errors) != tc.errors || len(f.Unknown) != tc.unknown {
				t.Errorf("%+v, want %d errors and %d unknown", f, tc.errors, tc.unknown)
			}
			var screen bytes.Buffer
			if err := s.Screen(&screen, "privatelink status v1", now); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", strings.ReplaceAll(title, " ", "-")+".txt")
			golden.Compare(t, file, screen.Bytes())
		})
	}
}

func TestSumCountsVersionsWithoutSources(t *testing.T) {
	s := status.Status{Replicas: []status.Replica{
		{Images: map[string]int{"rewritten": 3}},
		{Images: map[string]int{"rewritten": 2}, Rewritten: map[string]int{"ghcr.io": 2, "other": 0}},
		{},
	}}
	s.Sum()
	if diff := cmp.Diff(map[string]int{"unknown": 3, "ghcr.io": 2}, s.Rewritten); diff != "" {
		t.Error(diff)
	}
}
