// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/target"
)

func TestHTML(t *testing.T) {
	now := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	replica := func(pod string) Replica {
		return Replica{Pod: pod, Ready: true, Version: "v0.1.0", Started: now.Add(-time.Hour), LeafEnds: now.Add(time.Hour), CAEnds: now.Add(time.Hour)}
	}
	for name, tc := range map[string]struct {
		status Status
		want   []string
	}{
		"healthy": {Status{Wanted: 1, Replicas: []Replica{replica("w-1")}, Registry: Registry{Images: 2}}, []string{"<strong>ok</strong>: no errors.", "There is no error", "v0.1.0, up 1h"}},
		"an image is missing, and a name has markup": {
			Status{Target: target.Target{Cluster: "<b>prod</b>"}, Wanted: 2, Replicas: []Replica{replica("w-1")}, Registry: Registry{Images: 2, Missing: []string{"r/castai/<i>:v1"}}, Waiting: Waiting{Pods: 1, Images: []string{"r/castai/agent:v2"}}},
			[]string{"<strong>failed</strong>: 3 errors", "&lt;b&gt;prod&lt;/b&gt;", "1 of 2 replicas are ready", `r/castai/&lt;i&gt;:v1</th><td class="failed">failed</td><td>missing from the registry`, "r/castai/agent:v2"},
		},
		"a replica is unknown": {Status{Wanted: 1, Replicas: []Replica{{Pod: "w-1", Ready: true, Error: "no metrics"}}}, []string{"<strong>unknown</strong>", "w-1: no metrics"}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tc.status.writeHTML(&b, "privatelink/v0.1.0", now); err != nil {
				t.Fatal(err)
			}
			for _, w := range tc.want {
				if !strings.Contains(b.String(), w) {
					t.Errorf("no %s in\n%s", w, b.String()[strings.Index(b.String(), "<body>"):])
				}
			}
			if strings.Contains(b.String(), "<b>prod") || strings.Contains(b.String(), `id="picture"`) {
				t.Error("markup, or a picture")
			}
		})
	}
}
