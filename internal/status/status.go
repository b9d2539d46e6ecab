// SPDX-License-Identifier: Apache-2.0

// Package status is what the webhook's replicas tell of themselves, put
// together from their metrics.
//
// It only reads texts in Prometheus' format; who fetches them is the caller's
// business. A replica that did not answer is in the result with the reason, so
// that sums over fewer replicas than there are do not look complete.
package status

import (
	"fmt"
	"io"
	"maps"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Status is all that is known.
type Status struct {
	// Wanted is how many replicas the Deployment asks for.
	Wanted   int       `json:"wanted"`
	Replicas []Replica `json:"replicas"`
	// Rewritten are images rewritten since the replicas started, by the registry
	// that they came from: the sum of those that answered.
	Rewritten map[string]int `json:"rewritten"`
	// ConfigHash is that of the cluster's ConfigMap, as replicas count it.
	ConfigHash  string   `json:"configHash,omitempty"`
	ConfigError string   `json:"configError,omitempty"`
	Registry    Registry `json:"registry"`
}

// Registry is what the private registry has.
type Registry struct {
	// NotAsked says why nobody knows; empty when it was asked.
	NotAsked string   `json:"notAsked,omitempty"`
	Images   int      `json:"images"`
	Missing  []string `json:"missing"`
	Differs  []string `json:"differs"`
	Failed   []string `json:"failed"` // could not be asked about, with the reason
}

// Replica is one webhook pod.
type Replica struct {
	Pod   string `json:"pod"`
	Node  string `json:"node,omitempty"`
	Ready bool   `json:"ready"`
	// Error says why there are no metrics; the rest is empty then.
	Error     string         `json:"error,omitempty"`
	Version   string         `json:"version,omitempty"`
	Started   time.Time      `json:"started,omitzero"`
	Reviews   map[string]int `json:"reviews,omitempty"` // by result
	Images    map[string]int `json:"images,omitempty"`  // by outcome
	Rewritten map[string]int `json:"rewritten,omitempty"`
	Panics    int            `json:"panics"`
	// Distrusted are TLS handshakes that a client broke off.
	Distrusted int `json:"distrusted"`
	// LeafEnds and CAEnds are when certificates expire; zero if unknown.
	LeafEnds     time.Time `json:"leafEnds,omitzero"`
	CAEnds       time.Time `json:"caEnds,omitzero"`
	ConfigHash   string    `json:"configHash,omitempty"`
	ConfigLoaded time.Time `json:"configLoaded,omitzero"`
	// ConfigRefused says that the newest configuration has faults, and the one
	// before it is in force.
	ConfigRefused bool `json:"configRefused"`
}

// Read fills in what a replica's metrics tell. Without privatelink_build_info it
// is not the webhook that answered, which is an error.
func (r *Replica) Read(text io.Reader) error {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return fmt.Errorf("no metrics: %w", err)
	}
	version := byLabel(families["privatelink_build_info"], "version")
	if len(version) == 0 {
		return fmt.Errorf("the answer has no privatelink_build_info: it is not from the webhook")
	}
	for v := range version {
		r.Version = v
	}
	for hash := range byLabel(families["privatelink_config_info"], "hash") {
		r.ConfigHash = hash
	}
	r.Started = at(single(families["process_start_time_seconds"]))
	r.Reviews = counts(families["privatelink_reviews_total"], "result")
	r.Images = counts(families["privatelink_images_total"], "outcome")
	r.Rewritten = counts(families["privatelink_images_rewritten_total"], "source")
	r.Panics = int(single(families["privatelink_panics_total"]))
	r.Distrusted = int(single(families["privatelink_tls_distrusted_total"]))
	ends := byLabel(families["privatelink_certificate_not_after_seconds"], "certificate")
	r.LeafEnds, r.CAEnds = at(ends["leaf"]), at(ends["ca"])
	r.ConfigLoaded = at(single(families["privatelink_config_last_load_success_timestamp_seconds"]))
	r.ConfigRefused = r.ConfigHash != "" && single(families["privatelink_config_last_load_successful"]) == 0
	return nil
}

// Sum adds up what the replicas count.
func (s *Status) Sum() {
	s.Rewritten = map[string]int{}
	for _, r := range s.Replicas {
		rewritten := r.Rewritten
		if len(rewritten) == 0 && r.Images["rewritten"] > 0 { // a version that does not tell sources
			rewritten = map[string]int{"unknown": r.Images["rewritten"]}
		}
		for source, n := range rewritten {
			s.Rewritten[source] += n
		}
	}
	maps.DeleteFunc(s.Rewritten, func(_ string, n int) bool { return n == 0 })
}

// byLabel sums the values of a family by one of its labels.
func byLabel(f *dto.MetricFamily, label string) map[string]float64 {
	all := map[string]float64{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				all[l.GetValue()] += value(m)
			}
		}
	}
	return all
}

func counts(f *dto.MetricFamily, label string) map[string]int {
	all := map[string]int{}
	for name, n := range byLabel(f, label) {
		all[name] = int(n)
	}
	return all
}

func single(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.GetMetric() {
		sum += value(m)
	}
	return sum
}

// value is that of a counter or a gauge: the other is nil, and 0.
func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// at is a time in Unix seconds; zero if it is 0, which stands for unknown.
func at(seconds float64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
