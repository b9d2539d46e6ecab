// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/explain"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
	"github.com/castai/privatelink-webhook/webhook"
)

// TestExplainEqualsTheAPIServer compares what privatelink explain says
// with what the plugins do.
func TestExplainEqualsTheAPIServer(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPolicies(t, c, deploy.Options{})
			patcher := webhook.NewPatcher(p.rules)
			config, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, engine := range deploy.Engines() {
				b, err := explain.New(deploy.Options{Rules: p.rules, Config: config, Engine: engine})
				if err != nil {
					t.Fatal(err)
				}
				for _, raw := range corpus.Generated(3, 500/share) {
					var pod corev1.Pod
					if err := json.Unmarshal(raw, &pod); err != nil {
						t.Fatal(err)
					}
					pod.Namespace = "castai-agent"
					report, err := b.Explain(t.Context(), explain.Pod{Kind: "Pod", Name: pod.Name, Namespace: pod.Namespace, Object: &pod})
					if err != nil {
						t.Fatal(err)
					}
					done := patched(t, patcher, &pod)
					if engine == deploy.Policy {
						if done, err = p.create("castai-agent", &pod); err != nil {
							t.Fatal(err)
						}
					}
					if d := cmp.Diff(withoutRecord(t, *done), withoutRecord(t, *inNamespace(apply(t, raw, report.Patch)))); d != "" {
						t.Errorf("%s, %s: -done +report\n%s", engine, pod.Name, d)
					}
					warned := len(p.watch("castai-agent", done, nil, "").warnings) > 0
					if warned != (report.Guard.Verdict == "warns") || warned != report.NeedsAction() {
						t.Errorf("%s, %s: the guard warned: %v, and is reported as: %s", engine, pod.Name, warned, report.Guard.Verdict)
					}
				}
			}
		})
	}
}

func inNamespace(p *corev1.Pod) *corev1.Pod {
	p.Namespace = "castai-agent"
	return p
}
