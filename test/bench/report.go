// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
	"time"
)

// A report is the outcome of a run. summarize fills what follows from the
// rounds.
type report struct {
	Conditions    conditions `json:"conditions"`
	Servers       []result   `json:"servers"`
	StartsMillis  []float64  `json:"startsToReadyMs"`
	StartMillis   float64    `json:"startToReadyMs"`
	BinaryMiB     float64    `json:"binaryMiB"`
	BinaryGzipMiB float64    `json:"binaryGzipMiB"`
	Budgets       []budget   `json:"budgets"`
}

// conditions are what a reader needs to repeat the run.
type conditions struct {
	Go           string  `json:"go"`
	OS           string  `json:"os"`
	Arch         string  `json:"arch"`
	CPUs         int     `json:"cpus"`
	RequestBytes int     `json:"requestBytes"`
	InFlight     int     `json:"inFlight"`
	Rounds       int     `json:"rounds"`
	Seconds      float64 `json:"secondsPerRound"`
}

// round is one server in one round.
type round struct {
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"requestsPerSecond"`
	P50Millis float64 `json:"p50Ms"`
	P99Millis float64 `json:"p99Ms"`
	PeakMiB   float64 `json:"peakMiB"`
	// CPUMicros is the processor time of the server for one request; 0 where the
	// system does not report it.
	CPUMicros float64 `json:"cpuMicrosPerRequest"`
}

// result is one server over all rounds: medians, but for the memory, of which
// the highest peak counts.
type result struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"requestsPerSecond"`
	P50Millis float64 `json:"p50Ms"`
	P99Millis float64 `json:"p99Ms"`
	PeakMiB   float64 `json:"peakMiB"`
	CPUMicros float64 `json:"cpuMicrosPerRequest"`
	Rounds    []round `json:"rounds"`
}

func newRound(o outcome, processor time.Duration, peak int64) round {
	slices.Sort(o.latencies)
	return round{
		Requests:  len(o.latencies),
		PerSecond: float64(len(o.latencies)) / o.took.Seconds(),
		P50Millis: millis(percentile(o.latencies, 50)),
		P99Millis: millis(percentile(o.latencies, 99)),
		PeakMiB:   mib(peak),
		CPUMicros: float64(processor.Microseconds()) / float64(o.answered),
	}
}

func (r *report) summarize() {
	for i := range r.Servers {
		s := &r.Servers[i]
		s.PerSecond = median(column(s.Rounds, perSecond))
		s.P50Millis = median(column(s.Rounds, func(r round) float64 { return r.P50Millis }))
		s.P99Millis = median(column(s.Rounds, p99))
		s.CPUMicros = median(column(s.Rounds, cpu))
		s.PeakMiB = slices.Max(column(s.Rounds, func(r round) float64 { return r.PeakMiB }))
	}
	r.StartMillis = median(r.StartsMillis)
	r.Budgets = r.budgets()
}

// ratio compares two servers within each round, and takes the median of that:
// what slowed down one round has slowed down both.
func (r *report) ratio(a, b string, of func(round) float64) (float64, bool) {
	i, j := r.find(a), r.find(b)
	if i < 0 || j < 0 {
		return 0, false
	}
	as, bs := column(r.Servers[i].Rounds, of), column(r.Servers[j].Rounds, of)
	ratios := make([]float64, len(as))
	for n := range as {
		ratios[n] = as[n] / bs[n]
	}
	return median(ratios), true
}

func (r *report) find(name string) int {
	return slices.IndexFunc(r.Servers, func(s result) bool { return s.Name == name })
}

func perSecond(r round) float64 { return r.PerSecond }
func p99(r round) float64       { return r.P99Millis }
func cpu(r round) float64       { return r.CPUMicros }

func column(rounds []round, of func(round) float64) []float64 {
	out := make([]float64, len(rounds))
	for i, r := range rounds {
		out[i] = of(r)
	}
	return out
}

// median of at least one value.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// percentile is the nearest rank: the smallest of the sorted values that at
// least p percent of them do not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func mib(bytes int64) float64        { return float64(bytes) / (1 << 20) }
