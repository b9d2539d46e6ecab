// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster/metrics"
)

// admissionCost prints what the webhook costs a creation, as the API server
// saw it so far.
func admissionCost(t *testing.T) {
	now, err := metrics.Scrape(testCtx, n.Client.CoreV1().RESTClient())
	if err != nil {
		t.Fatal(err)
	}
	calls, err := metrics.Between(nil, now, metrics.Webhook, map[string]string{"name": "pods.privatelink.cast.ai", "operation": "CREATE", "rejected": "false", "type": "admit"})
	if err != nil {
		t.Fatal(err)
	}
	if calls.Count() == 0 {
		t.Fatal("the API server says that it never called the webhook")
	}
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	reportf("    a review of that, as the API server sees it: %d calls, %s on average, p50 %s, p99 %s, %.1f %% within 5 ms",
		calls.Count(), round(calls.Mean()), round(calls.Quantile(.5)), round(calls.Quantile(.99)), 100*calls.Within(5*time.Millisecond))
}
