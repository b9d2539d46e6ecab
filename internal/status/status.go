// SPDX-License-Identifier: Apache-2.0

// Package status shows the state of the webhook: its replicas, the images that
// they rewrote, the registry, the certificates and the configuration, as
// `privatelink status` prints them.
//
// Replicas report about themselves in their metrics. A replica that does not
// answer is listed with the error, so that sums are not mistaken for complete.
package status

import (
	"fmt"
	"io"
	"maps"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/target"
)

// Status is the gathered state.
type Status struct {
	// Target is the cluster, and the registry of the lock file.
	Target target.Target `json:"target"`
	// Policy is set if pods are rewritten by the MutatingAdmissionPolicy of this name.
	// There are no replicas then.
	Policy string `json:"policy,omitempty"`
	// Unbound is set if the policy has no binding.
	Unbound bool `json:"policyUnbound,omitempty"`
	// Wanted is the number of replicas in the Deployment.
	Wanted   int       `json:"wanted"`
	Replicas []Replica `json:"replicas"`
	// Rewritten counts the images rewritten since the replicas started, by source
	// registry, over all replicas that answered.
	Rewritten map[string]int `json:"rewritten"`
	installed *rewrite.Rules // nil if they cannot be read
	lockFile  string         // that the images were looked up from
	// ConfigHash is the hash of the ConfigMap, as replicas compute it.
	ConfigHash  string   `json:"configHash,omitempty"`
	ConfigError string   `json:"configError,omitempty"`
	Registry    Registry `json:"registry"`
	Waiting     Waiting  `json:"waiting"`
	Mirror      Mirror   `json:"mirror"`
}

// Registry is the state of the images in the private registry.
type Registry struct {
	// NotChecked is the reason why the registry was not checked, if it was not.
	NotChecked string   `json:"notAsked,omitempty"`
	Images     int      `json:"images"`
	Missing    []string `json:"missing"`
	Differs    []string `json:"differs"`
	Failed     []string `json:"failed"` // errors of the requests that failed
}

// Replica is one webhook pod.
type Replica struct {
	Pod   string `json:"pod"`
	Node  string `json:"node,omitempty"`
	Ready bool   `json:"ready"`
	// Error is the reason why there are no metrics. All fields below are empty
	// then.
	Error     string         `json:"error,omitempty"`
	Version   string         `json:"version,omitempty"`
	Started   time.Time      `json:"started,omitzero"`
	Reviews   map[string]int `json:"reviews,omitempty"`   // by result
	Images    map[string]int `json:"images,omitempty"`    // by outcome
	Rewritten map[string]int `json:"rewritten,omitempty"` // by source registry
	Panics    int            `json:"panics"`
	// TLSRejected counts the TLS handshakes that a client broke off because it
	// does not trust the certificate.
	TLSRejected int `json:"distrusted"`
	// LeafEnds and CAEnds are the expiry times of the certificates; zero if unknown.
	LeafEnds     time.Time `json:"leafEnds,omitzero"`
	CAEnds       time.Time `json:"caEnds,omitzero"`
	ConfigHash   string    `json:"configHash,omitempty"`
	ConfigLoaded time.Time `json:"configLoaded,omitzero"`
	// ConfigRefused is set if the newest configuration is invalid and the previous
	// one remains in force.
	ConfigRefused bool `json:"configRefused"`
	// ConfigIgnoredKeys is the number of keys of the configuration that the
	// replica's version does not know.
	ConfigIgnoredKeys int `json:"configIgnoredKeys,omitempty"`
}

// Read parses the metrics of the replica. Text without privatelink_build_info is
// not from the webhook, and an error.
func (r *Replica) Read(text io.Reader) error {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return fmt.Errorf("parse metrics: %w", err)
	}
	version := byLabel(families["privatelink_build_info"], "version")
	if len(version) == 0 {
		return fmt.Errorf("the metrics have no privatelink_build_info: they are not from the webhook")
	}
	for v := range version {
		r.Version = v
	}
	for hash := range byLabel(families["privatelink_config_info"], "hash") {
		r.ConfigHash = hash
	}
	r.Started = unixTime(total(families["process_start_time_seconds"]))
	r.Reviews = counts(families["privatelink_reviews_total"], "result")
	r.Images = counts(families["privatelink_images_total"], "outcome")
	r.Rewritten = counts(families["privatelink_images_rewritten_total"], "source")
	r.Panics = int(total(families["privatelink_panics_total"]))
	r.TLSRejected = int(total(families["privatelink_tls_distrusted_total"]))
	ends := byLabel(families["privatelink_certificate_not_after_seconds"], "certificate")
	r.LeafEnds, r.CAEnds = unixTime(ends["leaf"]), unixTime(ends["ca"])
	r.ConfigLoaded = unixTime(total(families["privatelink_config_last_load_success_timestamp_seconds"]))
	r.ConfigIgnoredKeys = int(total(families["privatelink_config_ignored_keys"]))
	r.ConfigRefused = r.ConfigHash != "" && total(families["privatelink_config_last_load_successful"]) == 0
	return nil
}

// Sum computes Rewritten from the replicas.
func (s *Status) Sum() {
	s.Rewritten = map[string]int{}
	for _, r := range s.Replicas {
		rewritten := r.Rewritten
		if len(rewritten) == 0 && r.Images["rewritten"] > 0 { // a version without a count for each source
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
	sums := map[string]float64{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				sums[l.GetValue()] += value(m)
			}
		}
	}
	return sums
}

func counts(f *dto.MetricFamily, label string) map[string]int {
	counts := map[string]int{}
	for name, n := range byLabel(f, label) {
		counts[name] = int(n)
	}
	return counts
}

func total(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.GetMetric() {
		sum += value(m)
	}
	return sum
}

// value returns the value of a counter or a gauge. Of a nil one it is 0.
func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// unixTime converts Unix seconds. 0 means unknown and becomes the zero time.
func unixTime(seconds float64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
