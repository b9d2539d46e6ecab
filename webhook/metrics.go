// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Metrics are the Prometheus metrics of the webhook. Every label has a closed set
// of values.
type Metrics struct {
	registry *prometheus.Registry

	reviews  *prometheus.CounterVec
	images   *prometheus.CounterVec
	sources  map[string]prometheus.Counter // by host, made at the start: a lookup allocates nothing
	rejected *prometheus.CounterVec
	duration prometheus.Histogram
	panics   prometheus.Counter
	distrust prometheus.Counter

	configInfo  *prometheus.GaugeVec
	configLoads *prometheus.CounterVec
	configGood  prometheus.Gauge
	configTime  prometheus.Gauge
	configNew   prometheus.Gauge
}

// NewMetrics returns metrics on their own registry. The version is the label of
// privatelink_build_info.
func NewMetrics(version string) *Metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		reviews:  counters("privatelink_reviews_total", "Admission reviews answered, by operation (create, update, ephemeral, other) and result (rewritten, unchanged, skipped, panic).", "operation", "result"),
		images:   counters("privatelink_images_total", "Image references in reviews, by outcome (rewritten, private, kept, unparsable, illegal).", "outcome"),
		rejected: counters("privatelink_requests_rejected_total", "HTTP requests that were no admission review, or too many at once, by reason (method, content_type, too_large, busy, unreadable, malformed).", "reason"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "privatelink_review_duration_seconds", Help: "Time from the first byte of a review to its response.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, .5, 1, 3},
		}),
		panics:      prometheus.NewCounter(prometheus.CounterOpts{Name: "privatelink_panics_total", Help: "Panics recovered; each is a bug, and its pod was allowed unchanged."}),
		distrust:    prometheus.NewCounter(prometheus.CounterOpts{Name: "privatelink_tls_distrusted_total", Help: "TLS handshakes that the client ended because it does not trust the serving certificate."}),
		configInfo:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "privatelink_config_info", Help: "1 for the configuration in use, by the first 12 digits of its SHA-256."}, []string{"hash"}),
		configLoads: counters("privatelink_config_loads_total", "Configurations read after a change, by result (success, failure).", "result"),
		configGood:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "privatelink_config_last_load_successful", Help: "1 if the newest configuration is in use, 0 if it has errors and the last valid one is kept."}),
		configNew:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "privatelink_config_ignored_keys", Help: "Keys of the configuration in use that this version does not know and ignores."}),
		configTime:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "privatelink_config_last_load_success_timestamp_seconds", Help: "When the configuration in use was loaded."}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "privatelink_build_info", Help: "1; the version is in the label.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.reviews, m.images, m.rejected, m.duration, m.panics, m.distrust,
		m.configInfo, m.configLoads, m.configGood, m.configTime, m.configNew, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	rewritten := counters("privatelink_images_rewritten_total", "Image references rewritten, by the registry that they came from: those where CAST AI's images are published, or other.", "source")
	m.registry.MustRegister(rewritten)
	m.sources = map[string]prometheus.Counter{otherSource: rewritten.WithLabelValues(otherSource)}
	for _, host := range sources() {
		m.sources[host] = rewritten.WithLabelValues(host)
	}
	m.startAtZero()
	return m
}

// startAtZero makes every series. One that began with its first event would have no
// increase then, so that no alert would fire.
func (m *Metrics) startAtZero() {
	for _, operation := range []string{"create", "update", "ephemeral", "other"} {
		for _, result := range []string{"rewritten", "unchanged", "skipped", "panic"} {
			m.reviews.WithLabelValues(operation, result)
		}
	}
	for _, outcome := range []string{"rewritten", "private", "kept", "unparsable", "illegal"} {
		m.images.WithLabelValues(outcome)
	}
	for _, reason := range []string{"method", "content_type", "too_large", "busy", "unreadable", "malformed"} {
		m.rejected.WithLabelValues(reason)
	}
	for _, result := range []string{"success", "failure"} {
		m.configLoads.WithLabelValues(result)
	}
}

// WatchCertificate exports the NotAfter times of the serving certificate and of its
// CA. It calls expiry at every scrape, and exports a zero time, which is not known, as 0.
func (m *Metrics) WatchCertificate(expiry func() (leaf, ca time.Time)) {
	gauge := func(which string, at func() time.Time) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "privatelink_certificate_not_after_seconds", Help: "When the certificate expires, in Unix time; 0 if unknown.",
			ConstLabels: prometheus.Labels{"certificate": which},
		}, func() float64 {
			if t := at(); !t.IsZero() {
				return float64(t.Unix())
			}
			return 0
		})
	}
	m.registry.MustRegister(
		gauge("leaf", func() time.Time { leaf, _ := expiry(); return leaf }),
		gauge("ca", func() time.Time { _, ca := expiry(); return ca }),
	)
}

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *Metrics) reviewed(operation, result string) {
	m.reviews.WithLabelValues(operation, result).Inc()
}

func (m *Metrics) image(r rewrite.Result) {
	outcome := string(r.Outcome)
	switch {
	case r.Outcome == rewrite.Empty:
		return
	case r.Reason.Illegal():
		outcome = "illegal"
	case r.Outcome == rewrite.Unmapped:
		outcome = "unparsable"
	}
	m.images.WithLabelValues(outcome).Inc()
	if r.Changed() {
		m.from(r.Source).Inc()
	}
}

// otherSource stands for all hosts that are not known beforehand. Every user who
// may create pods can write any host into them, and each would be a series.
const otherSource = "other"

// sources are the registries where the images of the catalog are published.
func sources() []string {
	return []string{
		"us-docker.pkg.dev", "us-east4-docker.pkg.dev", "ghcr.io", "docker.io", "registry.k8s.io",
		"k8s.gcr.io", "gcr.io", "quay.io", "nvcr.io", "public.ecr.aws",
	}
}

// from is the counter for a reference. One without a host is Docker Hub's; the
// form that charts make of their global.registry value begins with the private
// registry, and counts as another's.
func (m *Metrics) from(ref string) prometheus.Counter {
	host, _, named := strings.Cut(ref, "/")
	if !named || !strings.ContainsAny(host, ".:") && host != "localhost" || host == "index.docker.io" {
		host = "docker.io"
	}
	if known, ok := m.sources[host]; ok {
		return known
	}
	return m.sources[otherSource]
}

func (m *Metrics) loaded(hash string, ignored int) {
	m.configLoads.WithLabelValues("success").Inc()
	m.configInfo.Reset()
	m.configInfo.WithLabelValues(hash).Set(1)
	m.configGood.Set(1)
	m.configNew.Set(float64(ignored))
	m.configTime.SetToCurrentTime()
}

func (m *Metrics) loadFailed() {
	m.configLoads.WithLabelValues("failure").Inc()
	m.configGood.Set(0)
}
