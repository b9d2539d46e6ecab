// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/explain"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

// large is a pod of many containers that all have a public image with tag and
// digest, and a listed variable.
func large(containers int) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace = "large", "castai-agent"
	for i := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name:  fmt.Sprint("c-", i),
			Image: "us-docker.pkg.dev/castai-hub/library/widget:v1.22.333@" + corpus.Digest,
			Env: []corev1.EnvVar{
				{Name: "MODE", Value: "x"}, {Name: "SCANNERS_IMAGE", Value: "registry.example.com/acme/widget:v1"},
			},
		})
	}
	return pod
}

// TestTheCostOfLargePods holds the figures of docs/reference/engines.md: an exceeded
// limit leaves a pod as it was under Ignore, and refuses it under Fail. Each
// container counts as two references.
func TestTheCostOfLargePods(t *testing.T) {
	for name, c := range map[string]rewrite.Config{"defaults": {Registry: corpus.Registry}, "rules and keeps": configs()["rules and keeps"]} {
		t.Run(name, func(t *testing.T) {
			rules, err := rewrite.New(c)
			if err != nil {
				t.Fatal(err)
			}
			config, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			for engine, most := range map[deploy.Engine]int64{deploy.Webhook: 150_000, deploy.Policy: 400_000} {
				b, err := explain.New(deploy.Options{Rules: rules, Config: config, Engine: engine, FailurePolicy: "Fail"})
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range []int{1, 10, 100, 600, 700, 800} {
					if share > 1 && n > 100 {
						continue
					}
					pod := large(n)
					r := costOf(t, b, pod)
					rewritten := costOf(t, b, apply(t, marshal(t, pod), r.Patch))
					t.Logf("%s, %d containers: public %d, rewritten %d; guard %d; refused %v; guard %s", engine, n, r.Cost, rewritten.Cost, r.Guard.Cost, r.Refused, r.Guard.Verdict)
					if cost := max(r.Cost, rewritten.Cost); n == 100 && (cost > most || r.Guard.Cost > 150_000) {
						t.Errorf("%s: 100 containers cost %d, and %d in the guard; want %d and 150000 at most", engine, cost, r.Guard.Cost, most)
					}
					if n <= 600 && (r.NeedsAction() || rewritten.NeedsAction()) {
						t.Errorf("%s: %d containers are too many: %s%s%s%s", engine, n, r.Error, rewritten.Error, r.Guard.Message, rewritten.Guard.Message)
					}
				}
			}
		})
	}
}

func costOf(t *testing.T, b *explain.Bundle, pod *corev1.Pod) explain.Report {
	t.Helper()
	r, err := b.Explain(t.Context(), explain.Pod{Kind: "Pod", Name: pod.Name, Namespace: pod.Namespace, Object: pod})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestAPodBeyondTheLimit is refused under Fail, and unchanged under Ignore, by the
// API server's own plugin.
func TestAPodBeyondTheLimit(t *testing.T) {
	for policy, refused := range map[string]bool{"Fail": true, "": false} {
		p := startPolicies(t, rewrite.Config{Registry: corpus.Registry}, deploy.Options{FailurePolicy: policy})
		for n, beyond := range map[int]bool{600: false, 1500: true} {
			pod := large(n)
			got, err := p.create("castai-agent", pod)
			if (err != nil) != (beyond && refused) {
				t.Errorf("failure policy %q, %d containers: %v", policy, n, err)
			}
			if unchanged := got.Spec.Containers[0].Image == pod.Spec.Containers[0].Image; unchanged != beyond {
				t.Errorf("failure policy %q, %d containers: unchanged: %v", policy, n, unchanged)
			}
		}
	}
}

// TestAnUpdateOfALargePodIsAllowed: under Deny an exceeded limit refuses, and
// a finalizer could not be removed.
func TestAnUpdateOfALargePodIsAllowed(t *testing.T) {
	p := startPolicies(t, rewrite.Config{Registry: corpus.Registry}, deploy.Options{Guard: deploy.GuardDeny})
	for _, n := range []int{100, 600} {
		old := large(n)
		for i := range old.Spec.Containers { // else each is found at once
			old.Spec.Containers[i].Image += fmt.Sprint(i)
			old.Spec.Containers[i].Env[1].Value += fmt.Sprint(i)
		}
		unchanged, swapped := old.DeepCopy(), old.DeepCopy()
		unchanged.Labels = map[string]string{"a": "b"}
		if v := p.watch("castai-agent", unchanged, old, ""); v.denied != nil {
			t.Errorf("%d containers, images as before: %.300v", n, v.denied)
		}
		swapped.Spec.Containers[0].Image = corpus.Registry + "/widget:v1"
		if v := p.watch("castai-agent", swapped, old, ""); v.denied != nil && n == 100 {
			t.Errorf("%d containers, one image private now: %.300v", n, v.denied)
		}
	}
}

// TestTheCostDoesNotGrowWithTheRules holds the second table of
// docs/reference/engines.md. All rules are on the host of the images.
func TestTheCostDoesNotGrowWithTheRules(t *testing.T) {
	costs := map[deploy.Engine]map[int]int64{deploy.Webhook: {}, deploy.Policy: {}}
	for _, n := range []int{20, 100, 400} {
		c := rewrite.Config{Registry: corpus.Registry}
		for i := range n {
			c.Rules = append(c.Rules, rewrite.Rule{Source: fmt.Sprintf("registry.example.com/team-%d", i), Target: fmt.Sprintf("team-%d", i)})
		}
		rules, err := rewrite.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for engine := range costs {
			b, err := explain.New(deploy.Options{Rules: rules, Config: marshal(t, c), Engine: engine, FailurePolicy: "Fail"})
			if err != nil {
				t.Fatal(err)
			}
			for _, containers := range []int{1, 100, 600} {
				if share > 1 && containers > 100 {
					continue
				}
				pod := large(containers)
				for i := range pod.Spec.Containers {
					pod.Spec.Containers[i].Image = fmt.Sprintf("registry.example.com/team-%d/widget:v1.22.333@%s", i%n, corpus.Digest)
				}
				r := costOf(t, b, pod)
				rewritten := costOf(t, b, apply(t, marshal(t, pod), r.Patch))
				t.Logf("%s, %d rules, %d containers: public %d, rewritten %d; guard %d", engine, n, containers, r.Cost, rewritten.Cost, r.Guard.Cost)
				if r.NeedsAction() || rewritten.NeedsAction() {
					t.Errorf("%s, %d rules: %d containers are too many: %s%s", engine, n, containers, r.Error, rewritten.Error)
				}
				if containers == 100 {
					costs[engine][n] = r.Cost
				}
			}
		}
	}
	for engine, of := range costs {
		if of[400] > of[20]*11/10 {
			t.Errorf("%s: 400 rules cost %d, 20 rules %d", engine, of[400], of[20])
		}
	}
}
