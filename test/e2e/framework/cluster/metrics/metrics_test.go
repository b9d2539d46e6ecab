// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"testing"
	"time"
)

// scrape has these arguments for each of two series: counts within 5 ms, within
// 25 ms and in total, and the sum.
const scrape = `# HELP other something else
# TYPE other counter
other{type="admit"} 7
# TYPE seconds histogram
seconds_bucket{type="admit",rejected="false",le="0.005"} %d
seconds_bucket{type="admit",rejected="false",le="0.025"} %d
seconds_bucket{type="admit",rejected="false",le="+Inf"} %d
seconds_sum{type="admit",rejected="false"} %g
seconds_count{type="admit",rejected="false"} %[3]d
seconds_bucket{type="validate",rejected="false",le="0.005"} %[5]d
seconds_bucket{type="validate",rejected="false",le="0.025"} %[6]d
seconds_bucket{type="validate",rejected="false",le="+Inf"} %[7]d
seconds_sum{type="validate",rejected="false"} %[8]g
seconds_count{type="validate",rejected="false"} %[7]d
`

func TestBetween(t *testing.T) {
	// Meanwhile: 60 within 5 ms, 40 within 25 ms; and in the other series one.
	before := fmt.Appendf(nil, scrape, 10, 11, 12, 100., 1, 1, 1, .001)
	after := fmt.Appendf(nil, scrape, 70, 111, 112, 101., 2, 2, 2, .002)
	for name, tc := range map[string]struct {
		before, after []byte
		metric        string
		labels        map[string]string
		count         int
		mean          time.Duration
		p50, p99      time.Duration
	}{
		"a quantile is interpolated in its bucket": {
			before, after, "seconds", map[string]string{"type": "admit"}, 100, 10 * time.Millisecond,
			4166667 * time.Nanosecond, 24500 * time.Microsecond,
		},
		"a server that just started has nothing to subtract": {
			nil, before, "seconds", map[string]string{"type": "validate"}, 1, time.Millisecond,
			2500 * time.Microsecond, 4950 * time.Microsecond,
		},
		"beyond the last bucket, its bound is all that is known": {
			nil, before, "seconds", map[string]string{"type": "admit"}, 12, 8333333333 * time.Nanosecond,
			3 * time.Millisecond, 25 * time.Millisecond,
		},
		"several series are taken together": {
			before, after, "seconds", map[string]string{"rejected": "false"}, 101, 9910891 * time.Nanosecond,
			4139344 * time.Nanosecond, 24495 * time.Microsecond,
		},
		"nothing happened in between":  {after, after, "seconds", nil, 0, 0, 0, 0},
		"nothing goes by that name":    {before, after, "minutes", nil, 0, 0, 0, 0},
		"nothing has all these labels": {before, after, "seconds", map[string]string{"type": "admit", "rejected": "true"}, 0, 0, 0, 0},
		"a counter is no histogram":    {before, after, "other", nil, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Between(tc.before, tc.after, tc.metric, tc.labels)
			if err != nil {
				t.Fatal(err)
			}
			if d.Count() != tc.count || d.Mean() != tc.mean || d.Quantile(.5) != tc.p50 || d.Quantile(.99) != tc.p99 {
				t.Errorf("%d, mean %s, p50 %s, p99 %s; want %d, mean %s, p50 %s, p99 %s",
					d.Count(), d.Mean(), d.Quantile(.5), d.Quantile(.99), tc.count, tc.mean, tc.p50, tc.p99)
			}
		})
	}
}

func TestSpansAreTakenTogether(t *testing.T) {
	var all Durations
	for _, within := range []int{100, 0} {
		d, err := Between(nil, fmt.Appendf(nil, scrape, within, 100, 100, 1., 0, 0, 0, 0.), "seconds", map[string]string{"type": "admit"})
		if err != nil {
			t.Fatal(err)
		}
		all.Add(d)
	}
	if got, want := all.Quantile(.75), 15*time.Millisecond; all.Count() != 200 || got != want {
		t.Errorf("%d, p75 %s; want 200 and %s", all.Count(), got, want)
	}
}

func TestWhatIsNoScrapeIsAnError(t *testing.T) {
	if _, err := Between(nil, []byte("a b c\n"), "seconds", nil); err == nil {
		t.Error("no error")
	}
}
