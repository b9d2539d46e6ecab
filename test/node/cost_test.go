// SPDX-License-Identifier: Apache-2.0

//go:build linux && node

package node

import (
	"regexp"
	"strconv"
	"testing"
	"time"
)

var bucket = regexp.MustCompile(`(?m)^apiserver_admission_webhook_admission_duration_seconds_(bucket|sum|count)\{name="pods[.]privatelink[.]cast[.]ai",operation="CREATE",rejected="false",type="admit"(?:,le="([^"]+)")?\} (\S+)$`)

// admissionCost prints what the webhook costs a creation, as the API server
// saw it so far.
func admissionCost(t *testing.T) {
	text, err := n.Client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(alive)
	if err != nil {
		t.Fatal(err)
	}
	var sum, count float64
	within := map[string]float64{}
	for _, m := range bucket.FindAllStringSubmatch(string(text), -1) {
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		switch m[1] {
		case "sum":
			sum += value
		case "count":
			count += value
		default:
			within[m[2]] += value
		}
	}
	if count == 0 {
		t.Fatal("the API server says that it never called the webhook")
	}
	figure("    a review of that, as the API server sees it: %.0f calls, %s on average, %.1f %% within 5 ms, %.1f %% within 25 ms",
		count, time.Duration(sum/count*1e9).Round(10*time.Microsecond), 100*within["0.005"]/count, 100*within["0.025"]/count)
}
