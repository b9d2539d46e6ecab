// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for name, tc := range map[string]struct {
		in   []float64
		want float64
	}{
		"one value is its own median":                        {[]float64{7}, 7},
		"an odd number of values has one in the middle":      {[]float64{9, 1, 5}, 5},
		"of an even number it is the mean of the middle two": {[]float64{8, 2, 4, 1}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := median(tc.in); got != tc.want {
				t.Errorf("median(%v) = %v, want %v", tc.in, got, tc.want)
			}
		})
	}
}

func TestNewRound(t *testing.T) {
	var latencies []time.Duration
	for n := 200; n > 0; n-- {
		latencies = append(latencies, time.Duration(n)*time.Millisecond)
	}
	want := round{Requests: 200, PerSecond: 100, P50Millis: 100, P99Millis: 198, PeakMiB: 1.5, CPUMicros: 40}
	if got := newRound(outcome{latencies, 2 * time.Second, 250}, 10*time.Millisecond, 3<<19); got != want {
		t.Errorf("newRound = %+v, want %+v", got, want)
	}
	one := []time.Duration{time.Millisecond}
	if got := newRound(outcome{one, time.Second, 1}, 0, 0); got.P50Millis != 1 || got.P99Millis != 1 {
		t.Errorf("percentiles of a single request: %+v", got)
	}
}

func TestProcessorTime(t *testing.T) {
	if got := processorTime([]byte("7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0")); got != 1750*time.Millisecond {
		t.Errorf("processorTime = %s, want 1.75s", got)
	}
	if got := processorTime([]byte("7 (a) S")); got != 0 {
		t.Errorf("processorTime of a short line = %s", got)
	}
}

func TestHighWater(t *testing.T) {
	got, ok := highWater([]byte("Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"))
	if !ok || got != 2<<20 {
		t.Errorf("highWater = %d, %t", got, ok)
	}
	if _, ok := highWater([]byte("Name:\tx\n")); ok {
		t.Error("a high-water mark out of nothing")
	}
}

// example has a last round in which the machine was twice as slow.
func example() *report {
	rounds := func(perSecond, p99 float64, peaks ...float64) []round {
		return []round{
			{PerSecond: perSecond, P50Millis: p99 / 4, P99Millis: p99, PeakMiB: peaks[0], CPUMicros: 1e6 / perSecond},
			{PerSecond: perSecond * 1.1, P50Millis: p99 / 4, P99Millis: p99, PeakMiB: peaks[1], CPUMicros: 1e6 / perSecond},
			{PerSecond: perSecond / 2, P50Millis: p99 / 2, P99Millis: p99 * 2, PeakMiB: peaks[2], CPUMicros: 1e6 / perSecond},
		}
	}
	r := &report{
		Conditions: conditions{Go: "go1.26", OS: "linux", Arch: "amd64", CPUs: 2, RequestBytes: 4192, InFlight: 8, Rounds: 3, Seconds: 5},
		Servers: []result{
			{Name: echoName, Rounds: rounds(20000, 2, 15, 16, 15)},
			{Name: stock, Rounds: rounds(2000, 12, 30, 28, 29)},
			{Name: ours, Rounds: rounds(10000, 6, 20, 41, 21)},
		},
		StartsMillis:  []float64{40, 151, 30, 42, 41},
		BinaryMiB:     25.004,
		BinaryGzipMiB: 9.5,
	}
	r.summarize()
	return r
}

func TestTable(t *testing.T) {
	const want = `One review of 4192 bytes, 8 in flight, HTTP/1.1 over TLS 1.3; 3 rounds of 5s;
go1.26, linux/amd64, 2 CPUs, load generator among them.

server       req/s  p50 ms  p99 ms  CPU µs  peak MiB
echo         20000    0.50    2.00    50.0      16.0
kubewebhook   2000    3.00   12.00   500.0      30.0
privatelink  10000    1.50    6.00   100.0      41.0

figure                                           budget
CPU per review, privatelink / echo    2.00  ×    ≤ 2.00  met
requests, privatelink / echo          0.50  ×    ≥ 0.55  missed
requests, privatelink / kubewebhook   5.00  ×
p99, privatelink / echo               3.00  ×    ≤ 2.00  missed
memory, peak                         41.00  MiB  ≤ 40    missed
start to ready                       41.00  ms   ≤ 150   met
binary                               25.00  MiB  ≤ 25    met
binary, gzip                          9.50  MiB  ≤ 25    met
`
	var got strings.Builder
	if err := example().writeTable(&got); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestRatioComparesWithinRounds(t *testing.T) {
	r := &report{Servers: []result{
		{Name: "a", Rounds: []round{{PerSecond: 10}, {PerSecond: 100}, {PerSecond: 30}}},
		{Name: "b", Rounds: []round{{PerSecond: 20}, {PerSecond: 50}, {PerSecond: 10}}},
	}}
	if got, ok := r.ratio("a", "b", perSecond); !ok || got != 2 { // of 0.5, 2 and 3; the medians' ratio is 1.5
		t.Errorf("ratio = %v, %t, want 2", got, ok)
	}
	if _, ok := r.ratio("a", "absent", perSecond); ok {
		t.Error("a ratio to a server that did not run")
	}
}
