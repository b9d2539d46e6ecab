// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
	"github.com/castai/privatelink-webhook/webhook"
)

// TestAnUpdateIsRewrittenWhereItSetsAnImage sends updates through both engines and
// the guard: only images that the update sets are rewritten or reported.
func TestAnUpdateIsRewrittenWhereItSetsAnImage(t *testing.T) {
	const public = "ghcr.io/castai/images/agent:v1"
	private := corpus.Registry + "/agent:v1"
	of := func(image string, change ...func(*corev1.Pod)) *corev1.Pod {
		p := podsWith(image, "SCANNERS_IMAGE")["container"]
		for _, c := range change {
			c(p)
		}
		return p
	}
	labeled := func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }
	static := func(p *corev1.Pod) { p.Annotations = map[string]string{podspec.MirrorPodAnnotation: "x"} }
	debugged := func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{debugger("d", "busybox")}
	}
	second := func(image string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: image}}
		}
	}
	env := func(value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "SCANNERS_IMAGE", Value: value}}
		}
	}
	volume := func(image string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = podsWith(image, "")["volume"].Spec.Volumes }
	}
	renamed := func(p *corev1.Pod) { p.Spec.Containers[0].Name = "other" }

	webhook := start(t, rewrite.Config{Registry: corpus.Registry})
	policy := startPolicies(t, rewrite.Config{Registry: corpus.Registry}, deploy.Options{FailurePolicy: "Fail"})
	for name, tc := range map[string]struct {
		old, pod, want *corev1.Pod
		called         bool
	}{
		"a second apply of the public manifest changes nothing": {of(private), of(public), of(private), true},
		"and neither does one of all kinds of fields": {of(private, second(private), env(private), volume(private)),
			of(public, second(public), env(public), volume(public)), of(private, second(private), env(private), volume(private)), true},
		"another image goes to the registry":                           {of(private), of("quay.io/a/b:2"), of(corpus.Registry + "/quay.io/a/b:2"), true},
		"a label of a pod that was created before":                     {of(public, second("busybox")), of(public, second("busybox"), labeled), of(public, second("busybox"), labeled), false},
		"a private image":                                              {of(public), of(private), of(private), false},
		"an image that did not change, next to one that did":           {of(public, second("busybox")), of("quay.io/a/b", second("busybox")), of(corpus.Registry+"/quay.io/a/b", second("busybox")), true},
		"a value that did not change, next to an image that did":       {of(public, env("quay.io/x/y")), of("quay.io/a/b", env("quay.io/x/y")), of(corpus.Registry+"/quay.io/a/b", env("quay.io/x/y")), true},
		"a container of another name with the same image":              {of(public), of(public, renamed), of(private, renamed), true},
		"an ephemeral container is not looked at":                      {of(private), of(private, debugged), of(private, debugged), false},
		"nor in an update that sets an image":                          {of(private), of(public, debugged), of(private, debugged), true},
		"the API object of a static pod":                               {of(private, static), of(public, static), of(public, static), false},
		"an update that names no image in place of one":                {of(private), of(""), of(""), false},
		"the placeholder of an injector is no image":                   {of(private), of("auto"), of("auto"), false},
		"an image that moves from one container to another is not new": {of(public, second("busybox")), of("busybox", second(public)), of(corpus.Registry+"/docker.io/library/busybox", second(private)), true},
	} {
		t.Run(name, func(t *testing.T) {
			byWebhook, called, err := webhook.update("castai-agent", tc.pod, tc.old)
			if err != nil || called != tc.called {
				t.Errorf("webhook: called %v, %v; want %v", called, err, tc.called)
			}
			byPolicy, err := policy.update("castai-agent", tc.pod, tc.old)
			if err != nil {
				t.Errorf("policy: %v", err)
			}
			for engine, got := range map[string]*corev1.Pod{"webhook": byWebhook, "policy": byPolicy} {
				if d := cmp.Diff(tc.want.Spec, got.Spec); d != "" || !maps.Equal(tc.want.Annotations, got.Annotations) {
					t.Errorf("%s: -want +got\n%s; annotations %v", engine, d, got.Annotations)
				}
			}
			if v := policy.watch("castai-agent", tc.want, tc.old, ""); name != "an ephemeral container is not looked at" && name != "nor in an update that sets an image" && (v.denied != nil || len(v.warnings) > 0) {
				t.Errorf("the guard reports the result: %v, %v", v.denied, v.warnings)
			}
		})
	}
}

// TestThePolicyUpdatesWhatTheWebhookUpdates sends pairs of old and new pods through
// both engines. A pair that the webhook would patch is also sent to it.
func TestThePolicyUpdatesWhatTheWebhookUpdates(t *testing.T) {
	generated := corpus.Generated(5, 3_000/share)
	for i, name := range slices.Sorted(maps.Keys(engineConfigs())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := engineConfigs()[name]
			p, a := startPolicies(t, c, deploy.Options{FailurePolicy: "Fail"}), start(t, c)
			patcher, random := webhook.NewPatcher(p.rules), rand.New(rand.NewPCG(5, uint64(i)))
			patched, untouched := 0, 0
			for j := i; j < len(generated); j += len(engineConfigs()) {
				old, pod := updateOf(t, patcher, random, generated[j])
				raw := marshal(t, pod)
				patch, _ := patcher.Update(raw, marshal(t, old))
				want := apply(t, raw, patch)
				byPolicy, err := p.update("castai-agent", pod, old)
				if err != nil {
					t.Fatalf("pod %d: %v", j, err)
				}
				byWebhook, called, err := a.update("castai-agent", pod, old)
				if err != nil {
					t.Fatalf("pod %d: %v", j, err)
				}
				for engine, got := range map[string]*corev1.Pod{"webhook": byWebhook, "policy": byPolicy} {
					if d := cmp.Diff(withoutRecord(t, *want), withoutRecord(t, *got)); d != "" {
						t.Errorf("pod %d: -want +%s\n%s", j, engine, d)
					}
				}
				switch {
				case string(patch) == "[]":
					untouched++
				case !called:
					t.Errorf("pod %d would be patched, but is not sent: %s", j, patch)
				default:
					patched++
				}
			}
			if least := len(generated) / len(engineConfigs()) / 10; patched < least || untouched < least {
				t.Errorf("%d patched, %d not: the corpus lost its teeth", patched, untouched)
			}
		})
	}
}

// updateOf makes an update of a generated pod: the old one as it was created with
// or without the engine, the new one with some images changed, and at times with
// containers renamed or in another order.
func updateOf(t *testing.T, patcher *webhook.Patcher, random *rand.Rand, raw []byte) (old, pod *corev1.Pod) {
	t.Helper()
	pod = &corev1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		t.Fatal(err)
	}
	pod.Namespace = "castai-agent"
	old = pod.DeepCopy()
	if random.IntN(2) == 0 {
		old = patched(t, patcher, pod)
		pod = old.DeepCopy()
	}
	all := images()
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		switch random.IntN(6) {
		case 0, 1:
			c.Image = all[random.IntN(len(all))]
		case 2:
			c.Env = append(c.Env, corev1.EnvVar{Name: "SCANNERS_IMAGE", Value: all[random.IntN(len(all))]})
		case 3:
			c.Name = fmt.Sprint("renamed-", i)
		}
	}
	if len(pod.Spec.Containers) > 1 && random.IntN(4) == 0 {
		slices.Reverse(pod.Spec.Containers)
	}
	return old, pod
}
