// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
	"github.com/castai/privatelink-webhook/webhook"
)

// engineConfigs are rule sets at every boundary of the mapping.
func engineConfigs() map[string]rewrite.Config {
	out := configs()
	out["rules and keeps inside an alias"] = rewrite.Config{
		Registry: corpus.Registry,
		Rules:    []rewrite.Rule{{Source: "ghcr.io/castai/images/agent", Target: "x/agent"}, {Source: "us-east4-docker.pkg.dev/castai-hub/library/deep", Target: "prom"}, {Source: "registry.example.com:5000", Target: "port"}},
		Keep:     []string{"us-docker.pkg.dev/castai-hub/library/kept", "docker.io/library", "quay.io"},
	}
	out["rules on the registry's own host"] = rewrite.Config{
		Registry: "registry.example.com/castai",
		Rules:    []rewrite.Rule{{Source: "registry.example.com/acme", Target: "mine"}, {Source: "docker.io/acme", Target: "hub-acme"}},
		Keep:     []string{"docker.io/kept"},
	}
	out["a short registry"] = rewrite.Config{Registry: "a.io"}
	out["a registry on the node"] = rewrite.Config{Registry: "localhost:5000/castai"}
	out["a registry next to an alias"] = rewrite.Config{Registry: "ghcr.io/acme"}
	return out
}

// different names, for each way in which the policy intends to differ, the
// configuration, the reference, and what the engines make of it. Whatever is
// not in this table is equal; what is in it differs exactly so.
//
// Beyond references, the policy does not write the annotation of the originals.
var different = map[string]struct {
	config                 rewrite.Config
	image, webhook, policy string
}{
	"a reference of more than 1024 characters is not looked at": {
		rewrite.Config{Registry: "a.io", Rules: []rewrite.Rule{{Source: long, Target: "p"}}}, long + "/x:1", "a.io/p/x:1", long + "/x:1",
	},
}

// long is a host that no registry has, and that a rule may name all the same.
var long = strings.Repeat("long.", 210) + "io"

func TestThePolicyDiffersFromTheWebhookAsNamed(t *testing.T) {
	for name, tc := range different {
		t.Run(name, func(t *testing.T) {
			p := startPolicies(t, tc.config, deploy.Options{FailurePolicy: "Fail"})
			if got := p.rules.Image(tc.image).Target; got != tc.webhook {
				t.Errorf("the webhook writes %q, want %q", got, tc.webhook)
			}
			got, err := p.create("castai-agent", podsWith(tc.image, "")["container"])
			if err != nil {
				t.Fatal(err)
			}
			if got := got.Spec.Containers[0].Image; got != tc.policy {
				t.Errorf("the policy writes %q, want %q", got, tc.policy)
			}
		})
	}
}

// TestThePolicyWritesWhatTheWebhookWrites sends the corpus and 10,000 generated
// pods, spread over the configurations, through the API server's own plugin and
// through the webhook's patcher.
func TestThePolicyWritesWhatTheWebhookWrites(t *testing.T) {
	generated := corpus.Generated(1, 10_000/share)
	for i, name := range slices.Sorted(maps.Keys(engineConfigs())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := engineConfigs()[name]
			p := startPolicies(t, c, deploy.Options{FailurePolicy: "Fail"})
			patcher := webhook.NewPatcher(p.rules)
			pods, changed := corpus.Pods(), 0
			delete(pods, "ephemeral.old")
			delete(pods, "ephemeral.new")
			for j := i; j < len(generated); j += len(engineConfigs()) {
				pods[fmt.Sprint("generated ", j)] = generated[j]
			}
			for j, image := range images() {
				if j%share != 0 {
					continue
				}
				pod, err := json.Marshal(podsWith(image, "")["container"])
				if err != nil {
					t.Fatal(err)
				}
				pods[image] = pod
			}
			for name, raw := range pods {
				before, want, got := both(t, p, patcher, raw)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s: -webhook +policy\n%s", name, d)
				}
				if before != got {
					changed++
				}
			}
			if changed < 500/share {
				t.Errorf("only %d of %d pods are changed: the corpus lost its teeth", changed, len(pods))
			}
		})
	}
}

// both returns a pod, and what the engines make of it, in JSON, without the
// annotation that only the webhook writes.
func both(t *testing.T, p *policies, patcher *webhook.Patcher, raw []byte) (before, byWebhook, byPolicy string) {
	t.Helper()
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Kind, pod.APIVersion, pod.Namespace = "Pod", "v1", "castai-agent"
	want := patched(t, patcher, &pod)
	got, err := p.create("castai-agent", &pod)
	if err != nil {
		t.Errorf("%s: %v", pod.Name, err)
	}
	return withoutRecord(t, pod), withoutRecord(t, *want), withoutRecord(t, *got)
}

func apply(t *testing.T, raw, patch []byte) *corev1.Pod {
	t.Helper()
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := ops.Apply(raw)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(after, &pod); err != nil {
		t.Fatal(err)
	}
	return &pod
}

func withoutRecord(t *testing.T, pod corev1.Pod) string {
	t.Helper()
	pod.TypeMeta, pod.Annotations = metav1.TypeMeta{}, maps.Clone(pod.Annotations)
	if delete(pod.Annotations, podspec.OriginalImages); len(pod.Annotations) == 0 {
		pod.Annotations = nil
	}
	out, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestThePolicyRewritesOnlyNewEphemeralContainers(t *testing.T) {
	p := startPolicies(t, rewrite.Config{Registry: corpus.Registry}, deploy.Options{FailurePolicy: "Fail"})
	old := podsWith("ghcr.io/castai/images/agent:1", "")["container"]
	old.Spec.EphemeralContainers = []corev1.EphemeralContainer{debugger("first", "busybox")}
	pod := old.DeepCopy()
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, debugger("second", "alpine:3"), debugger("third", corpus.Registry+"/x"))
	got, err := p.debug("castai-agent", pod, old)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, c := range got.Spec.EphemeralContainers {
		have = append(have, c.Image)
	}
	want := []string{"busybox", corpus.Registry + "/docker.io/library/alpine:3", corpus.Registry + "/x"}
	if d := cmp.Diff(want, have); d != "" || got.Spec.Containers[0].Image != old.Spec.Containers[0].Image {
		t.Errorf("-want +have\n%s; the running container has %q", d, got.Spec.Containers[0].Image)
	}
}

func debugger(name, image string) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: image}}
}

func TestThePolicyLeavesStaticPodsAndOtherNamespaces(t *testing.T) {
	p := startPolicies(t, rewrite.Config{Registry: corpus.Registry}, deploy.Options{FailurePolicy: "Fail"})
	public := podsWith("busybox", "")["container"]
	static := public.DeepCopy()
	static.Annotations = map[string]string{podspec.MirrorPodAnnotation: "x"}
	for name, tc := range map[string]struct {
		namespace, want string
		pod             *corev1.Pod
	}{
		"a pod of the namespace": {"castai-agent", corpus.Registry + "/docker.io/library/busybox", public},
		"a static pod":           {"castai-agent", "busybox", static},
		"a pod of another one":   {"default", "busybox", public},
		"a pod in the webhook's": {deploy.Namespace, "busybox", public},
	} {
		got, err := p.create(tc.namespace, tc.pod)
		if err != nil || got.Spec.Containers[0].Image != tc.want {
			t.Errorf("%s: %v, image %q, want %q", name, err, got.Spec.Containers[0].Image, tc.want)
		}
	}
}
