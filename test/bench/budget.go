// SPDX-License-Identifier: Apache-2.0

package main

// A budget is one measured figure and its documented limit.
type budget struct {
	What    string  `json:"what"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Budget  string  `json:"budget"`
	Verdict string  `json:"verdict"` // met, missed, or empty: no limit
}

const (
	met    = "met"
	missed = "missed"
)

// atLeast and atMost judge what is printed, so that a figure that reads as the
// limit counts as met.
func atLeast(limit float64) func(float64) string {
	return func(v float64) string { return verdict(round2(v) >= limit) }
}

func atMost(limit float64) func(float64) string {
	return func(v float64) string { return verdict(round2(v) <= limit) }
}

func verdict(ok bool) string {
	if ok {
		return met
	}
	return missed
}

func noLimit(float64) string { return "" }

// budgets compares our figures with their documented limits. A ratio to a server
// that was not run is omitted.
func (r *report) budgets() []budget {
	var out []budget
	figure := func(what string, v float64, unit, limit string, judge func(float64) string) {
		out = append(out, budget{what, v, unit, limit, judge(v)})
	}
	ratio := func(what, to string, of func(round) float64, limit string, judge func(float64) string) {
		if v, ok := r.ratio(ours, to, of); ok {
			figure(what, v, "×", limit, judge)
		}
	}
	ratio("CPU per review, "+ours+" / "+echoName, echoName, cpu, "≤ 2.00", atMost(2))
	ratio("requests, "+ours+" / "+echoName, echoName, perSecond, "≥ 0.55", atLeast(0.55))
	ratio("requests, "+ours+" / "+stock, stock, perSecond, "", noLimit)
	ratio("p99, "+ours+" / "+echoName, echoName, p99, "≤ 2.00", atMost(2))
	if i := r.find(ours); i >= 0 && r.Servers[i].PeakMiB > 0 {
		figure("memory, peak", r.Servers[i].PeakMiB, "MiB", "≤ 40", atMost(40))
	}
	figure("start to ready", r.StartMillis, "ms", "≤ 150", atMost(150))
	figure("binary", r.BinaryMiB, "MiB", "≤ 25", atMost(25))
	figure("binary, gzip", r.BinaryGzipMiB, "MiB", "≤ 25", atMost(25))
	return out
}
