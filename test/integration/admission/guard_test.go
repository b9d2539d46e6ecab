// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
	"github.com/castai/privatelink-webhook/webhook"
)

// TestTheGuardReportsPublicImagesOnly shows each pod to the guard twice:
// as it was written, and as the webhook leaves it. Every reference that was not
// mapped is seen, and a pod without one passes. The false alarms are those of
// the match conditions, named by superfluous.
func TestTheGuardReportsPublicImagesOnly(t *testing.T) {
	generated := corpus.Generated(2, 4_000/share)
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPolicies(t, c, deploy.Options{})
			patcher, seen, passed, named := webhook.NewPatcher(p.rules), 0, 0, 0
			show := func(name string, pod *corev1.Pod) {
				public, excused := "", false
				for _, r := range references(t, p.rules, pod) {
					if r.Outcome == rewrite.Rewritten || r.Outcome == rewrite.Unmapped && !beginsPrivate(r.Source, p.rules) {
						public = r.Source
					}
					excused = excused || superfluous(r)
				}
				v := p.watch("castai-agent", pod, nil, "")
				switch alarm := len(v.warnings) > 0; {
				case v.denied != nil:
					t.Errorf("%s: denied: %v", name, v.denied)
				case public != "" && !alarm:
					t.Errorf("%s: %q is not seen", name, public)
				case alarm && public == "" && !excused:
					t.Errorf("%s: a false alarm: %v", name, v.warnings)
				case alarm && public == "":
					named++
				case alarm:
					seen++
				default:
					passed++
				}
			}
			pods := corpus.Pods()
			delete(pods, "ephemeral.old")
			delete(pods, "ephemeral.new")
			delete(pods, "mirror-pod")
			for i, raw := range generated {
				pods[fmt.Sprint("generated ", i)] = raw
			}
			for name, raw := range pods {
				var pod corev1.Pod
				if err := json.Unmarshal(raw, &pod); err != nil {
					t.Fatal(err)
				}
				show(name, &pod)
				show(name+", rewritten", patched(t, patcher, &pod))
			}
			if seen < 1000/share || passed < 200/share {
				t.Errorf("%d seen, %d passed: the corpus lost its teeth", seen, passed)
			}
			t.Logf("%d seen, %d passed, %d named false alarms", seen, passed, named)
		})
	}
}

// beginsPrivate names what is passed although it is no reference: a text that
// begins as a private or kept one does, and has a fault further on. The kubelet
// refuses it, and no registry is contacted.
func beginsPrivate(text string, rules *rewrite.Rules) bool {
	host, _, _ := strings.Cut(rules.Registry(), "/")
	for _, prefix := range append(rules.Config().Keep, rules.Registry(), host) {
		if strings.HasPrefix(text, prefix+"/") || strings.HasPrefix(text, prefix) && strings.ContainsAny(text[len(prefix):len(prefix)+1], ":@") {
			return true
		}
	}
	return regexp.MustCompile(rewrite.ECRPattern + "|" + rewrite.LoopbackPattern).MatchString(text)
}

// references are the answers of the rules for all that the guard looks at.
func references(t *testing.T, rules *rewrite.Rules, pod *corev1.Pod) (out []rewrite.Result) {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := podspec.NewScanner(rules.EnvVars(), nil).Scan(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range seen.Images {
		if i.EnvIndex < 0 {
			out = append(out, rules.Image(i.Value))
		} else if r := rules.EnvValue(i.Value); r.Reason != rewrite.NoHost || strings.Contains(i.Value, "/") {
			if r.Reason == rewrite.NoHost && rules.Image(i.Value).Reason != rewrite.NoHost {
				continue // not a reference
			}
			out = append(out, r)
		}
	}
	return out
}

// patched is the pod as the webhook leaves it.
func patched(t *testing.T, patcher *webhook.Patcher, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	patch, _ := patcher.Create(raw)
	return apply(t, raw, patch)
}

func TestTheGuard(t *testing.T) {
	const public = "ghcr.io/castai/images/agent:v1"
	private := corpus.Registry + "/agent:v1"
	of := func(image string, change func(*corev1.Pod)) *corev1.Pod {
		p := podsWith(image, "")["container"]
		if change != nil {
			change(p)
		}
		return p
	}
	static := func(p *corev1.Pod) { p.Annotations = map[string]string{podspec.MirrorPodAnnotation: "x"} }
	labelled := func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }
	debugged := func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{debugger("d", "busybox")}
	}
	for name, tc := range map[string]struct {
		namespace, subresource string
		pod, old               *corev1.Pod
		want                   string // part of the warning or error, "" for none
	}{
		"a public image is named, with the remedy":       {"castai-agent", "", of(public, nil), nil, `privatelink: 1 public, first "` + public + `": nodes cannot pull it`},
		"a private one passes":                           {"castai-agent", "", of(private, nil), nil, ""},
		"another namespace is not matched":               {"default", "", of(public, nil), nil, ""},
		"a static pod is not matched":                    {"castai-agent", "", of(public, static), nil, ""},
		"an update that brings a public image back":      {"castai-agent", "", of(public, nil), of(private, nil), `first "` + public + `"`},
		"an update of a pod that was public passes":      {"castai-agent", "", of(public, labelled), of(public, nil), ""},
		"a new debug container":                          {"castai-agent", "ephemeralcontainers", of(private, debugged), of(private, nil), `first "busybox"`},
		"one that was there passes":                      {"castai-agent", "ephemeralcontainers", of(private, debugged), of(private, debugged), ""},
		"a value that cannot be parsed counts as public": {"castai-agent", "", of("{{ .Values.image }}", nil), nil, `first "{{ .Values.image }}"`},
		"a line break cannot break the warning":          {"castai-agent", "", of("a\nb", nil), nil, `first "a\nb": nodes`},
		"a long one is cut":                              {"castai-agent", "", of("quay.io/"+strings.Repeat("a", 100_000), nil), nil, strings.Repeat("a", 109) + `...": nodes`},
		"a value of the environment is not shown": {"castai-agent", "", of(private, func(p *corev1.Pod) {
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "SCANNERS_IMAGE", Value: "https://bot:hunter2@example.com/x"}}
		}), nil, `first "containers/c/env/SCANNERS_IMAGE": nodes`},
		"all are counted": {"castai-agent", "", of(public, func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: "busybox", Env: []corev1.EnvVar{{Name: "SCANNERS_IMAGE", Value: "quay.io/a/b"}}}}
		}), nil, "3 public, first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, guard := range []deploy.Guard{deploy.GuardWarn, deploy.GuardDeny} {
				v := startPolicies(t, rewrite.Config{Registry: corpus.Registry}, deploy.Options{Guard: guard}).watch(tc.namespace, tc.pod, tc.old, tc.subresource)
				message := strings.Join(v.warnings, "\n")
				if (v.denied != nil) != (tc.want != "" && guard == deploy.GuardDeny) {
					t.Errorf("%s: denied: %v", guard, v.denied)
				}
				if v.denied != nil {
					message += v.denied.Error()
				}
				if (message == "") != (tc.want == "") || !strings.Contains(message, tc.want) || len(message) > 1000 {
					t.Errorf("%s: the message is %q, want %q", guard, message, tc.want)
				}
			}
		})
	}
}
