// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// The API server takes the monitoring objects by the operator's own definitions, and stores
// what was applied: it drops no field, and adds none that would keep a GitOps tool busy.
func TestTheAPIServerStoresTheMonitoringObjectsAsTheyAre(t *testing.T) {
	const team = "team-monitored"
	t.Parallel()
	operatorCRDs(t)
	namespace(t, team)
	t.Cleanup(func() { gone(t, team) })
	text := privatelink(t, "install", "--registry", ecr, "--namespace", team, "--overlay", "monitoring")
	for _, kind := range []string{"PodMonitor", "PrometheusRule"} {
		t.Run(kind, func(t *testing.T) {
			object := only(t, text, kind)
			apply := func(text []byte) (string, error) {
				out, err := h.Kubectl(testCtx, bytes.NewReader(text), "apply", "--server-side", "--field-manager=gitops", "--validate=strict", "--warnings-as-errors", "-f", "-")
				return string(out), err
			}
			if _, err := apply(object); err != nil {
				t.Fatal(err)
			}
			want := spec(t, object)
			if d := cmp.Diff(want, spec(t, []byte(kubectl(t, nil, "get", kind, "--namespace", team, "privatelink-webhook", "-o", "yaml")))); d != "" {
				t.Errorf("-applied +stored:\n%s", d)
			}
			kubectl(t, object, "diff", "--server-side", "--field-manager=gitops", "-f", "-") // exits with 1 if there is a difference
			for _, wrong := range wrongFields()[kind] {
				changed := bytes.Replace(object, []byte(wrong.from), []byte(wrong.to), 1)
				if bytes.Equal(changed, object) {
					t.Errorf("there is no %q", wrong.from)
				}
				if _, err := apply(changed); err == nil || !strings.Contains(err.Error(), wrong.field) {
					t.Errorf("%q: the API server says %v, and does not refuse %s", wrong.to, err, wrong.field)
				}
			}
		})
	}
}

// A wrongField is a mistake in a manifest, and the field that the API server names.
type wrongField struct{ from, to, field string }

func wrongFields() map[string][]wrongField {
	return map[string][]wrongField{
		"PodMonitor": {
			{"interval:", "intervall:", "intervall"},
			{"interval: 30s", "interval: 30 seconds", "interval"},
			{"port: metrics", "port: 8080", "port"},
		},
		"PrometheusRule": {
			{"  for: 2m", "  fore: 2m", "fore"},
			{"  for: 2m", "  for: 2 minutes", "for"},
			{"severity: critical", "severity: 1", "severity"},
			{"  expr: absent", "  expression: absent", "expr"},
		},
	}
}

func spec(t *testing.T, text []byte) any {
	t.Helper()
	var object struct{ Spec map[string]any }
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	if len(object.Spec) == 0 {
		t.Fatalf("no spec: %s", text)
	}
	return object.Spec
}
