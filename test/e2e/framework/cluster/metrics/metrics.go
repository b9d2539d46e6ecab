// SPDX-License-Identifier: Apache-2.0

// Package metrics reads from the metrics of an API server how long something
// took it between two moments.
package metrics

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/rest"
)

// The admission of an API server: by one webhook, and by all that may change an
// object, webhooks included. Their first bucket ends at 5 ms: a quantile below
// that is interpolated, and only shows that it is below.
const (
	Webhook = "apiserver_admission_webhook_admission_duration_seconds"
	Step    = "apiserver_admission_step_admission_duration_seconds"
)

// Scrape returns all metrics as they are now.
func Scrape(ctx context.Context, api rest.Interface) ([]byte, error) {
	return api.Get().AbsPath("/metrics").DoRaw(ctx)
}

// Durations is a histogram of seconds. The zero value is an empty one.
type Durations struct {
	buckets []bucket // by their bounds, the last of which is infinite
	sum     float64
}

// bucket counts what is within a bound, and so in each bucket before it.
type bucket struct{ bound, count float64 }

// Between returns what was added to a histogram from one scrape to a later one,
// in all series that have the labels. Before may be nil: since the start.
func Between(before, after []byte, name string, labels map[string]string) (Durations, error) {
	was, err := parse(before, name, labels)
	if err != nil {
		return Durations{}, err
	}
	is, err := parse(after, name, labels)
	if err != nil {
		return Durations{}, err
	}
	is.add(was, -1)
	return is, nil
}

func parse(scrape []byte, name string, labels map[string]string) (d Durations, err error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(scrape))
	if err != nil {
		return d, fmt.Errorf("metrics: %w", err)
	}
	for _, m := range families[name].GetMetric() {
		missing := len(labels)
		for _, l := range m.GetLabel() {
			if value, ok := labels[l.GetName()]; ok && value == l.GetValue() {
				missing--
			}
		}
		if missing > 0 || m.GetHistogram() == nil {
			continue
		}
		series := Durations{sum: m.GetHistogram().GetSampleSum()}
		for _, b := range m.GetHistogram().GetBucket() {
			series.buckets = append(series.buckets, bucket{b.GetUpperBound(), float64(b.GetCumulativeCount())})
		}
		d.add(series, 1)
	}
	return d, nil
}

// Add adds those of another span of time, of the same family.
func (d *Durations) Add(more Durations) { d.add(more, 1) }

func (d *Durations) add(more Durations, times float64) {
	if d.buckets == nil {
		d.buckets = make([]bucket, len(more.buckets))
	}
	for i, b := range more.buckets {
		d.buckets[i].bound = b.bound
		d.buckets[i].count += times * b.count
	}
	d.sum += times * more.sum
}

// Count is how many there are.
func (d Durations) Count() int {
	if len(d.buckets) == 0 {
		return 0
	}
	return int(d.buckets[len(d.buckets)-1].count)
}

// Mean is exact, unlike a quantile. It is 0 where there are none.
func (d Durations) Mean() time.Duration {
	if d.Count() == 0 {
		return 0
	}
	return seconds(d.sum / float64(d.Count()))
}

// Quantile returns the same as PromQL's histogram_quantile: values in a bucket
// are assumed to be spread evenly, and those beyond the last bound count as that
// bound. Without values it is 0.
func (d Durations) Quantile(q float64) time.Duration {
	rank := q * float64(d.Count())
	i := slices.IndexFunc(d.buckets, func(b bucket) bool { return b.count > 0 && b.count >= rank })
	if i < 0 {
		return 0
	}
	var below bucket // all durations are above zero
	if i > 0 {
		below = d.buckets[i-1]
	}
	b := d.buckets[i]
	if math.IsInf(b.bound, 1) {
		return seconds(below.bound)
	}
	return seconds(below.bound + (b.bound-below.bound)*(rank-below.count)/(b.count-below.count))
}

// Within is the share of those that took no longer than a bound of the buckets.
func (d Durations) Within(bound time.Duration) float64 {
	i := slices.IndexFunc(d.buckets, func(b bucket) bool { return b.bound >= bound.Seconds() })
	if i < 0 || d.Count() == 0 {
		return 0
	}
	return d.buckets[i].count / float64(d.Count())
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
