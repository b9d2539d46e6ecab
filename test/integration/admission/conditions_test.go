// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
	"github.com/castai/privatelink-webhook/webhook"
)

func configs() map[string]rewrite.Config {
	full := rewrite.Config{
		Registry: corpus.Registry, Namespaces: []string{"castai-agent", "castai-omni"},
		Rules: []rewrite.Rule{{Source: "quay.io/acme", Target: "p"}, {Source: "ghcr.io/castai/images/prom", Target: "q/r"}, {Source: "docker.io", Target: "hub"}},
		Keep:  []string{"registry.k8s.io", "registry.example.com", "quay.io/acme/kept", "ghcr.io/castai", "registry.k8s.io/a/b"},
	}
	return map[string]rewrite.Config{
		"defaults":                   {Registry: corpus.Registry},
		"rules and keeps":            full,
		"a plain registry":           {Registry: "registry.example.com:5000/castai"},
		"no repository part, no env": {Registry: strings.Split(corpus.Registry, "/")[0], EnvVars: []string{}},
	}
}

// images are the corpus and, beyond it, spellings around every boundary of the
// conditions.
func images() (out []string) {
	for _, row := range corpus.References() {
		if len(row.Source) < 2000 {
			out = append(out, row.Source)
		}
	}
	out = append(out, rewrite.Placeholder, rewrite.Placeholder+":1", corpus.Registry+"/"+rewrite.Placeholder)
	for _, host := range []string{"", "docker.io/", "index.docker.io/", "quay.io/", "quay.io/acme", "registry.k8s.io", "registry.k8s.io/", "registry.k8s.io:443/", "registry.example.com", "registry.example.com/", "registry.example.com:5000/", "ghcr.io/castai/", "ghcr.io/castai", "ghcr.io/castai/images", "us-docker.pkg.dev/castai-hub/library/", "localhost/", "localhost:5000/", "127.0.0.1:5000/", "127.0.0.1.example.com/", "[::1]:5000/"} {
		for _, path := range []string{"", "x", "x:1", ":1", "@" + corpus.Digest, "/x", "/kept", "/kept/x:1", "/a/b/c", "prom/x:1", "/prom:1", "library/x", "acme/kept:1", "acme/kept2:1", "quay.io/x/y:1"} {
			for _, prefix := range []string{"", corpus.Registry + "/", "registry.example.com:5000/castai/", corpus.Registry} {
				out = append(out, prefix+host+path)
			}
		}
	}
	return out
}

// superfluous names the answers for which a call with nothing to patch is
// accepted: references that are not understood or have no legal name.
func superfluous(r rewrite.Result) bool {
	return r.Outcome == rewrite.Unmapped
}

// TestPodsToPatchAreSentToTheWebhook is the one property that must hold
// without exception: a reference that would be rewritten, but is not sent,
// starts a pod that cannot pull.
func TestPodsToPatchAreSentToTheWebhook(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			a := start(t, c)
			env := ""
			if vars := a.rules.EnvVars(); len(vars) > 0 {
				env = vars[0]
			}
			sent, kept := 0, 0
			for _, image := range images() {
				for field, pod := range podsWith(image, env) {
					_, called, err := a.create("castai-agent", pod)
					if err != nil {
						t.Fatalf("%s %q: %v", field, image, err)
					}
					result := a.rules.Image(image)
					if field == "env" {
						result = a.rules.EnvValue(image)
					}
					switch {
					case result.Changed() && !called:
						t.Errorf("%s %q would be rewritten to %q, but is not sent", field, image, result.Target)
					case called && !result.Changed() && !superfluous(result):
						t.Errorf("%s %q is sent for nothing: %s", field, image, result.Rule)
					case called:
						sent++
					default:
						kept++
					}
				}
			}
			if sent < 1000 || kept < 1000 {
				t.Errorf("%d sent, %d not: the corpus lost its teeth", sent, kept)
			}
		})
	}
}

// podsWith sets an image in each field of an otherwise private pod.
func podsWith(image, env string) map[string]*corev1.Pod {
	private := func(change func(*corev1.PodSpec)) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "123456789012.dkr.ecr.us-east-1.amazonaws.com/other/c:1"}}}}
		p.Name = "p"
		change(&p.Spec)
		return p
	}
	out := map[string]*corev1.Pod{
		"container":      private(func(s *corev1.PodSpec) { s.Containers[0].Image = image }),
		"init container": private(func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Name: "i", Image: image}} }),
		"volume": private(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}}}
		}),
	}
	if env != "" {
		out["env"] = private(func(s *corev1.PodSpec) { s.Containers[0].Env = []corev1.EnvVar{{Name: env, Value: image}} })
	}
	return out
}

func TestEveryPodOfTheCorpusIsSentWhenItWouldBePatched(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			a := start(t, c)
			patcher := webhook.NewPatcher(a.rules)
			for name, raw := range corpus.Pods() {
				if strings.HasPrefix(name, "ephemeral.") {
					continue
				}
				var pod corev1.Pod
				if err := json.Unmarshal(raw, &pod); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				typed, err := json.Marshal(&pod)
				if err != nil {
					t.Fatal(err)
				}
				patch, _ := patcher.Create(typed)
				got, called, err := a.create("castai-agent", &pod)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if string(patch) != "[]" && !called {
					t.Errorf("%s would be patched, but is not sent", name)
				}
				persisted, err := json.Marshal(got)
				if err != nil {
					t.Fatal(err)
				}
				if second, _ := patcher.Create(persisted); string(second) != "[]" {
					t.Errorf("%s: the persisted pod would be patched again: %s", name, second)
				}
			}
		})
	}
}

func TestOnlyNewEphemeralContainersAreSent(t *testing.T) {
	a := start(t, rewrite.Config{Registry: corpus.Registry})
	pod := func(images ...string) *corev1.Pod {
		p := podsWith("ghcr.io/castai/images/agent:1", "")["container"]
		for i, image := range images {
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: fmt.Sprint("debug-", i), Image: image},
			})
		}
		return p
	}
	private := corpus.Registry + "/debug:1"
	for name, tc := range map[string]struct {
		old, new *corev1.Pod
		called   bool
		last     string // the last entry afterwards
	}{
		"a new public one is rewritten":                           {pod(), pod("busybox"), true, corpus.Registry + "/docker.io/library/busybox"},
		"a new private one next to public containers is not sent": {pod(), pod(private), false, private},
		"an old public one is not sent again":                     {pod("busybox"), pod("busybox", private), false, private},
		"an old public one is not touched when a new one is":      {pod("busybox"), pod("busybox", "alpine"), true, corpus.Registry + "/docker.io/library/alpine"},
	} {
		t.Run(name, func(t *testing.T) {
			got, called, err := a.debug("castai-agent", tc.new, tc.old)
			if err != nil {
				t.Fatal(err)
			}
			entries := got.Spec.EphemeralContainers
			if called != tc.called || entries[len(entries)-1].Image != tc.last {
				t.Errorf("called %v, last image %q; want %v, %q", called, entries[len(entries)-1].Image, tc.called, tc.last)
			}
			if len(entries) > 1 && entries[0].Image != "busybox" {
				t.Errorf("an existing ephemeral container was changed to %q", entries[0].Image)
			}
			if got.Spec.Containers[0].Image != "ghcr.io/castai/images/agent:1" {
				t.Error("a running container was changed")
			}
		})
	}
}

func TestScopeAndOutage(t *testing.T) {
	a := start(t, rewrite.Config{Registry: corpus.Registry})
	public := podsWith("ghcr.io/castai/images/agent:v1", "")["container"]
	private := podsWith(corpus.Registry+"/agent:v1", "")["container"]
	static := public.DeepCopy()
	static.Annotations = map[string]string{podspec.MirrorPodAnnotation: "x"}

	got, called, err := a.create("castai-agent", public)
	if err != nil || !called || got.Spec.Containers[0].Image != corpus.Registry+"/agent:v1" || !strings.Contains(got.Annotations[podspec.OriginalImages], "ghcr.io/castai/images/agent:v1") {
		t.Fatalf("a public image: called %v, %v, %+v", called, err, got)
	}
	for name, tc := range map[string]struct {
		namespace string
		pod       *corev1.Pod
	}{
		"a private pod":                     {"castai-agent", private},
		"a static pod":                      {"castai-agent", static},
		"a public pod of another namespace": {"default", public},
		"a public pod in the webhook's own": {"castai-privatelink", public},
		"a rewritten pod, a second time in": {"castai-agent", got},
	} {
		if _, called, err := a.create(tc.namespace, tc.pod); err != nil || called {
			t.Errorf("%s: called %v, %v; want it to pass", name, called, err)
		}
	}

	a.server.Close()
	if _, _, err := a.create("castai-agent", public); err == nil || !strings.Contains(err.Error(), "pods.privatelink.cast.ai") {
		t.Errorf("during an outage a public pod must be refused by name, have %v", err)
	}
	for name, tc := range map[string]struct {
		namespace string
		pod       *corev1.Pod
	}{
		"a private pod": {"castai-agent", private}, "a public pod of another namespace": {"default", public}, "the webhook's own pods": {"castai-privatelink", public},
	} {
		if _, _, err := a.create(tc.namespace, tc.pod); err != nil {
			t.Errorf("during an outage %s is refused: %v", name, err)
		}
	}
}

// TestAVeryLargePodStaysWithinTheCostBudget: an exceeded budget is an error in
// the expression, and thus a refused pod.
func TestAVeryLargePodStaysWithinTheCostBudget(t *testing.T) {
	a := start(t, configs()["rules and keeps"])
	for name, containers := range map[string]int{"100 containers of 500 variables": 100, "500 containers": 500} {
		t.Run(name, func(t *testing.T) {
			pod := podsWith(corpus.Registry+"/c:1", "")["container"]
			for i := range containers {
				c := corev1.Container{Name: fmt.Sprint("c-", i), Image: corpus.Registry + "/widget:v1@" + corpus.Digest}
				for j := range 50_000 / containers {
					c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprint("SOME_ENV_", j), Value: "v"})
				}
				c.Env = append(c.Env, corev1.EnvVar{Name: "SCANNERS_IMAGE", Value: "602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/pause:3"})
				pod.Spec.Containers = append(pod.Spec.Containers, c)
			}
			if _, called, err := a.create("castai-agent", pod); err != nil || called {
				t.Errorf("called %v, %v", called, err)
			}
		})
	}
}
