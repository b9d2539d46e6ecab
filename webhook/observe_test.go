// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

func TestEveryOutcomeIsCountedUnderAClosedSetOfLabels(t *testing.T) {
	e := endpointOf(t, nil)
	for name, pod := range corpus.Pods() {
		for i := range 3 {
			e.review(t, createReview(fmt.Sprint(name, i), pod))
		}
	}
	e.review(t, createReview("ipv6", podOf(1, "[2001:db8::7]/widget:v7")))
	if status, _, err := e.post([]byte("{")); err != nil || status != http.StatusBadRequest {
		t.Errorf("HTTP %d, %v", status, err)
	}
	closed := map[string][]string{
		"operation": {"create", "update", "ephemeral", "other"},
		"source":    append(sources(), "other"),
		"outcome":   {"rewritten", "private", "kept", "unparsable", "illegal"},
		"reason":    {"method", "content_type", "too_large", "busy", "unreadable", "malformed"},
		"version":   {"test"}, "result": {"rewritten", "unchanged", "skipped", "panic", "success", "failure"},
	}
	atStart := scrape(t, NewMetrics("test"))
	for series := range scrape(t, e.metrics) {
		if _, ok := atStart[series]; !ok && strings.Contains(series, "_total") {
			t.Errorf("series %s begins with its first event, so that it has no increase then", series)
		}
	}
	reviews := 0.0
	for series, value := range scrape(t, e.metrics) {
		name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		if !strings.HasPrefix(name, "privatelink_") || labels == "" || strings.HasSuffix(name, "_bucket") {
			continue
		}
		if name == "privatelink_reviews_total" {
			reviews += value
		}
		for label := range strings.SplitSeq(labels, ",") {
			key, quoted, _ := strings.Cut(label, "=")
			if !slices.Contains(closed[key], strings.Trim(quoted, `"`)) {
				t.Errorf("series %s has a label that is not of the closed set", series)
			}
		}
	}
	want := float64(3*len(corpus.Pods()) + 1)
	if reviews != want {
		t.Errorf("%v reviews counted, want %v", reviews, want)
	}
	expectMetrics(t, e.metrics, map[string]float64{"privatelink_review_duration_seconds_count": want, `privatelink_requests_rejected_total{reason="malformed"}`: 1})
}

func TestImagesAreCountedByOutcome(t *testing.T) {
	for image, outcome := range map[string]string{
		"busybox": "rewritten", registry + "/a:1": "private", corpus.Kept + "/a:1": "kept", "localhost:5000/a": "kept",
		"a:b:c": "unparsable", "my_reg.example.com/a": "unparsable", "[::2]/a": "illegal", "Ghcr.IO/a": "illegal",
	} {
		t.Run(image, func(t *testing.T) {
			e := endpointOf(t, nil)
			e.review(t, createReview("1", podOf(1, image)))
			for _, o := range []string{"rewritten", "private", "kept", "unparsable", "illegal"} {
				want := 0.0
				if o == outcome {
					want = 1
				}
				expectMetrics(t, e.metrics, map[string]float64{`privatelink_images_total{outcome="` + o + `"}`: want})
			}
		})
	}
}

func TestRewrittenImagesAreCountedBySource(t *testing.T) {
	for image, source := range map[string]string{
		"busybox": "docker.io", "library/busybox:1": "docker.io", "index.docker.io/library/busybox": "docker.io", "docker.io/a/b": "docker.io",
		"ghcr.io/castai/images/agent:1": "ghcr.io", "us-docker.pkg.dev/castai-hub/library/agent:1": "us-docker.pkg.dev",
		"registry.k8s.io/pause:3": "registry.k8s.io", "example.com/a/b:1": "other", "ghcr.io:443/a/b": "other",
		registry + "/ghcr.io/castai/images/agent:1": "other",
	} {
		t.Run(image, func(t *testing.T) {
			e := endpointOf(t, nil)
			e.review(t, createReview("1", podOf(1, image)))
			want := map[string]float64{`privatelink_images_rewritten_total{source="other"}`: 0}
			for _, s := range sources() {
				want[`privatelink_images_rewritten_total{source="`+s+`"}`] = 0
			}
			want[`privatelink_images_rewritten_total{source="`+source+`"}`] = 1
			expectMetrics(t, e.metrics, want)
		})
	}
}

func TestTheSourcesAreThoseOfTheCatalog(t *testing.T) {
	var hosts []string
	for _, row := range catalog.Rows() {
		host, _, _ := strings.Cut(row.Repository, "/")
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	known := sources()
	slices.Sort(known)
	if diff := cmp.Diff(slices.Compact(hosts), known); diff != "" {
		t.Error(diff)
	}
}

func TestCountingASourceAllocatesNothing(t *testing.T) {
	m := NewMetrics("test")
	if n := testing.AllocsPerRun(100, func() { m.from("ghcr.io/castai/images/agent:1").Inc() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

type logLine struct {
	Level, Msg, UID, Namespace, Pod, Reason string
	Count                                   int
	DryRun                                  bool
	Images                                  []line
}

func logged(t *testing.T, log *journal) (lines []logLine) {
	t.Helper()
	for text := range strings.Lines(log.String()) {
		var l logLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestLogLineOfAReview(t *testing.T) {
	pod := []byte(`{"metadata":{"generateName":"agent-","labels":{"canary":"C1"}},"spec":{"containers":[{"name":"a","image":"busybox:1","args":["canary C2"],
		"env":[{"name":"SCANNERS_IMAGE","value":"canary-C4"},{"name":"PASSWORD","value":"canary C3"},{"name":"JMX_EXPORTER_INIT_IMAGE","value":"ghcr.io/castai/images/jmx-exporter-init:1"}]},
		{"name":"b","image":"canary::C5"},{"name":"c","image":"` + registry + `/c:1"}]}}`)
	dry := createRequest("u-1", pod)
	dry.DryRun = true
	for name, tc := range map[string]struct {
		request request
		want    logLine
	}{
		"one line at Info for a pod that changed": {dry, logLine{
			Level: "INFO", Msg: "images rewritten", UID: "u-1", Namespace: "castai-agent", Pod: "agent-*", Count: 2, DryRun: true, Images: []line{
				{Location: "containers/a", Source: "busybox:1", Target: registry + "/docker.io/library/busybox:1"},
				{Location: "containers/a/env/SCANNERS_IMAGE", Source: "(not shown)", Unmapped: "no_host"},
				{Location: "containers/a/env/JMX_EXPORTER_INIT_IMAGE", Source: "ghcr.io/castai/images/jmx-exporter-init:1", Target: registry + "/jmx-exporter-init:1"},
				{Location: "containers/b", Source: "canary::C5", Unmapped: "unparsable"},
			},
		}},
		"one line at Debug for a pod that did not": {createRequest("u-2", podOf(1, registry+"/c:1")), logLine{
			Level: "DEBUG", Msg: "images unchanged", UID: "u-2", Namespace: "castai-agent", Pod: "castai-agent-7d9c6b5f4d-*",
		}},
		"one line at Warn for a pod that was not understood": {createRequest("u-3", []byte(`{"spec":{"containers":[{"image":"canary C6","args":7,"args":8}]}}`)), logLine{
			Level: "WARN", Msg: "images skipped", UID: "u-3", Namespace: "castai-agent", Reason: "pod/spec/containers/0/args: jsontext: duplicate object member name \"args\"",
		}},
		"one line at Warn for a static pod": {createRequest("u-4", []byte(`{"metadata":{"name":"proxy","annotations":{"`+podspec.MirrorPodAnnotation+`":"x"}},"spec":{}}`)), logLine{
			Level: "WARN", Msg: "images skipped", UID: "u-4", Namespace: "castai-agent", Pod: "proxy", Reason: string(skippedStaticPod),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, nil)
			e.review(t, review(tc.request))
			e.Close()
			lines := logged(t, e.log)
			if len(lines) != 1 {
				t.Fatalf("%d lines:\n%s", len(lines), e.log)
			}
			if r := tc.want.Reason; strings.HasPrefix(lines[0].Reason, r) {
				lines[0].Reason = r // the library may add an offset
			}
			if diff := cmp.Diff(tc.want, lines[0]); diff != "" {
				t.Errorf("the log (-want +got):\n%s", diff)
			}
			if text := strings.ReplaceAll(e.log.String(), "canary::C5", ""); strings.Contains(text, "canary") {
				t.Errorf("something of the pod that is no image is in the log: %s", text)
			}
		})
	}
}

func TestALogLineIsBounded(t *testing.T) {
	e := endpointOf(t, nil)
	r := createRequest(strings.Repeat("u", 9999), podOf(5000, "quay.io/acme/widget:v1"))
	r.Namespace = strings.Repeat("n", 9999)
	e.review(t, review(r))
	long := strings.Repeat("x", 100_000)
	e.review(t, createReview("2", []byte(`{"metadata":{"name":"`+long+`"},"spec":{"containers":[{"name":"`+long+`","image":"busybox"},{"name":"`+long+`","image":"::"}]}}`)))
	e.Close()
	lines := logged(t, e.log)
	if len(lines) != 2 || lines[0].Count != 5000 || len(lines[0].Images) == 0 || len(lines[1].Images) != 2 || len(e.log.String()) > 2*maxLogged {
		t.Errorf("%d lines, %d bytes", len(lines), len(e.log.String()))
	}
}

func TestTheExpiryOfCertificatesIsExported(t *testing.T) {
	m := NewMetrics("test")
	var leafEnd, caEnd time.Time
	m.WatchCertificate(func() (leaf, ca time.Time) { return leafEnd, caEnd })
	expect := func(leaf, ca float64) {
		t.Helper()
		expectMetrics(t, m, map[string]float64{
			`privatelink_certificate_not_after_seconds{certificate="leaf"}`: leaf, `privatelink_certificate_not_after_seconds{certificate="ca"}`: ca,
		})
	}
	expect(0, 0) // unknown
	leafEnd, caEnd = time.Unix(1000, 0), time.Unix(2000, 0)
	expect(1000, 2000)
}
