// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the dashboard")

func TestTheDashboardIsGenerated(t *testing.T) {
	const file = "../../../deploy/components/monitoring/dashboard.yaml"
	want, err := configMap()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what the program prints: run go test ./... -update", file)
	}
}

// Grafana's sidecar loads the file as it is: nothing asks for the inputs of an import, and
// the data source of no installation is named. A rate over less than two scrapes is empty.
func TestPanelsFitEveryInstallation(t *testing.T) {
	text, err := configMap()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "__inputs") || strings.Count(text, `"uid": "${datasource}"`) != len(panels()) {
		t.Error("a panel does not use the data source that is selected")
	}
	titles := map[string]bool{}
	for _, p := range panels() {
		if p.title == "" || p.description == "" || p.unit == "" || len(p.steps) == 0 || len(p.queries) == 0 || titles[p.title] {
			t.Errorf("%q: the title, or another field, is missing or stands twice", p.title)
		}
		titles[p.title] = true
		for _, q := range p.queries {
			if q.legend == "" || strings.Contains(q.expr, "job=") || p.isStat && strings.Contains(q.expr, "$__rate_interval") {
				t.Errorf("%s: %s has no legend, selects a job, or is a rate without an interval", p.title, q.expr)
			}
		}
	}
	for _, setting := range []string{`"interval": "1m"`, `"showLegend": true`, `"mode": "multi"`} {
		if strings.Count(text, setting) != strings.Count(text, `"type": "timeseries"`) {
			t.Errorf("a panel over time has no %s: no smallest step, no legend or no tooltip", setting)
		}
	}
}
