// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func TestDerivedImages(t *testing.T) {
	type want struct {
		copy, derived bool
		note          string // part of it
	}
	for name, tc := range map[string]struct {
		rule  rewrite.Rule
		noEnv bool   // no variable is listed
		at    Origin // default: here
		add   []string
		env   string // value of JMX_EXPORTER_INIT_IMAGE
		want  map[string]want
		not   string // part of a source that must not be listed
	}{
		"a kvisor controller brings the scanners of its tag": {
			add: []string{gar + "/kvisor-controller:v7"}, want: map[string]want{gar + "/kvisor-scanners:v7": {true, true, ""}},
		},
		"by its older path as well": {
			add: []string{"ghcr.io/castai/kvisor/kvisor-controller:v7"}, want: map[string]want{"ghcr.io/castai/kvisor/kvisor-scanners:v7": {true, true, ""}},
		},
		"not a second time where they are named, and then they are not derived": {
			add: []string{gar + "/kvisor-controller:v7", ghcr + "/kvisor-scanners:v7"}, want: map[string]want{gar + "/kvisor-scanners:v7": {true, false, ""}},
		},
		"a digest next to the tag is not carried over": {
			add: []string{gar + "/kvisor-controller:v7@" + digest}, want: map[string]want{gar + "/kvisor-scanners:v7": {true, true, "set SCANNERS_IMAGE"}},
		},
		"a digest alone has no tag": {
			add: []string{gar + "/kvisor-controller@" + digest}, want: map[string]want{gar + "/kvisor-scanners": {false, true, "no tag is known"}},
		},
		"a digest alone adds no scanners where they are known": {
			add: []string{gar + "/kvisor-controller@" + digest, gar + "/kvisor-scanners:v6"}, want: map[string]want{gar + "/kvisor-scanners:v6": {true, false, ""}},
		},
		"a target with another -controller in it breaks kvisor's rule, with a note": {
			rule: rewrite.Rule{Source: gar, Target: "x-controller"}, add: []string{gar + "/kvisor-controller:v7"},
			want: map[string]want{gar + "/kvisor-scanners:v7": {true, true, "kvisor will request " + ecr + "/x-scanners/kvisor-controller:v7 instead"}},
		},
		"a private controller of unknown source brings private scanners": {
			add: []string{ecr + "/kvisor-controller:v7"}, want: map[string]want{ecr + "/kvisor-scanners:v7": {false, true, notePrivate}},
		},
		"an image of a similar name brings nothing":                   {add: []string{gar + "/my-kvisor-controller:v7", "X kvisor-controller:v7"}, not: "scanners"},
		"a workload autoscaler without the variable has no JMX image": {add: []string{gar + "/workload-autoscaler:v1"}, not: "jmx"},
		"but it brings the default if the variable is not listed": {
			noEnv: true, add: []string{gar + "/workload-autoscaler:v1"}, want: map[string]want{gar + "/jmx-exporter-init:1.6.0-v2": {true, true, "default"}},
		},
		"the exporter, which runs the same image, does not": {
			noEnv: true, at: Origin{From: Chart, Name: "castai/charts/castai-workload-autoscaler-exporter/templates/exporter.yaml"}, add: []string{gar + "/workload-autoscaler:v1"}, not: "jmx",
		},
		"but not in addition to the one that its environment names": {
			add: []string{gar + "/workload-autoscaler:v1"}, env: "quay.io/acme/jmx:1", want: map[string]want{"quay.io/acme/jmx:1": {true, false, ""}}, not: "jmx-exporter-init",
		},
		"nor in addition to another tag of it": {
			noEnv: true, add: []string{gar + "/workload-autoscaler:v1", gar + "/jmx-exporter-init:2"}, want: map[string]want{gar + "/jmx-exporter-init:2": {true, false, ""}}, not: "jmx-exporter-init:1",
		},
		"without an autoscaler there is no JMX image": {add: []string{gar + "/agent:v1"}, not: "jmx"},
	} {
		t.Run(name, func(t *testing.T) {
			var c rewrite.Config
			if tc.rule.Source != "" {
				c.Rules = []rewrite.Rule{tc.rule}
			}
			if tc.noEnv {
				c.EnvVars = []string{}
			}
			l, at := New(rules(t, c)), tc.at
			if at == (Origin{}) {
				at = here
			}
			for _, ref := range tc.add {
				l.Add(ref, at)
			}
			l.AddEnv(jmxVariable, tc.env, here)
			got := map[string]Entry{}
			for _, i := range l.Images() {
				got[i.Source] = i
				if tc.not != "" && strings.Contains(i.Source, tc.not) {
					t.Errorf("%s is listed", i.Source)
				}
			}
			for source, w := range tc.want {
				i, ok := got[source]
				if !ok || i.Copy != w.copy || i.Derived != w.derived || !strings.Contains(i.Note, w.note) || w.note == "" && i.Note != "" {
					t.Errorf("%s: want %+v, got %+v", source, w, i)
				}
			}
		})
	}
}
