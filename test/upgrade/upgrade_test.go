// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"testing"
	"time"
)

// A week with every kind of fault. `make upgrade-replay` has the quarter.
func TestAWeekOfReleases(t *testing.T) {
	r := newReplay(t, time.Hour, 7*day)
	r.replay(t)
	r.compare(t)
	t.Logf("a run without news: %v, %d requests to the chart repository, %d to ECR", r.quiet.took, r.quiet.used.charts.requests, r.quiet.used.private.requests)
	if r.failed == 0 {
		t.Error("no run has failed")
	}
}
