// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

const manifests = `
apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: nightly, namespace: castai-agent}
  spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: main, image: busybox}]}}}}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: none}
---
apiVersion: acme.example/v1
kind: Custom
metadata: {name: embeds}
spec: {template: {spec: {containers: [{name: main, image: Widget, env: [{name: SCANNERS_IMAGE, value: quay.io/a/b}]}]}}}
---
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "static", "namespace": "castai-agent", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
`

func explained(t *testing.T, o deploy.Options, namespace string) map[string]Report {
	t.Helper()
	b := newBundle(t, o)
	pods, err := readPods("test", []byte(manifests), Namespace{Name: namespace})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Report{}
	for _, p := range pods {
		r, err := b.Explain(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		out[p.String()] = r
	}
	return out
}

func TestExplain(t *testing.T) {
	const nightly, embeds, static = "CronJob castai-agent/nightly", "Custom castai-agent/embeds", "Pod castai-agent/static"
	for name, tc := range map[string]struct {
		o    deploy.Options
		want map[string]string // the verdict of the guard, and the final images
	}{
		"the webhook": {deploy.Options{}, map[string]string{
			nightly: "passes: main " + registry + "/docker.io/library/busybox",
			embeds:  "warns: main Widget, SCANNERS_IMAGE " + registry + "/quay.io/a/b",
			static:  "not matched: main busybox",
		}},
		"the policy, with a guard that denies": {deploy.Options{Engine: deploy.Policy, Guard: deploy.GuardDeny}, map[string]string{
			nightly: "passes: main " + registry + "/docker.io/library/busybox",
			embeds:  "denies: main Widget, SCANNERS_IMAGE " + registry + "/quay.io/a/b",
			static:  "not matched: main busybox",
		}},
		"no guard": {deploy.Options{Guard: deploy.GuardOff}, map[string]string{
			nightly: "absent: main " + registry + "/docker.io/library/busybox",
			embeds:  "absent: main Widget, SCANNERS_IMAGE " + registry + "/quay.io/a/b",
			static:  "absent: main busybox",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			have := map[string]string{}
			for pod, r := range explained(t, tc.o, "castai-agent") {
				var images []string
				for _, i := range r.Images {
					images = append(images, i.Location[strings.LastIndex(i.Location, "/")+1:]+" "+i.Target)
				}
				have[pod] = r.Guard.Verdict + ": " + strings.Join(images, ", ")
			}
			if d := cmp.Diff(tc.want, have); d != "" {
				t.Errorf("-want +have\n%s", d)
			}
		})
	}
}

func TestAnotherNamespaceIsNotSelected(t *testing.T) {
	r := explained(t, deploy.Options{}, "default")["Custom default/embeds"]
	if r.Selected || r.Guard.Verdict != "not matched" || string(r.Patch) != "[]" || !r.NeedsAction() {
		t.Errorf("have %+v", r)
	}
	if d := cmp.Diff([]string{"Widget", "quay.io/a/b"}, r.Unselected); d != "" {
		t.Errorf("public images: -want +have\n%s", d)
	}
}

func TestTheConditionsAreReportedWithTheirValues(t *testing.T) {
	for engine, want := range map[deploy.Engine]map[string]bool{
		deploy.Webhook: {"has-public-image": true, "not-a-static-pod": false},
		deploy.Policy:  {"not-a-static-pod": false},
	} {
		have := map[string]bool{}
		for _, c := range explained(t, deploy.Options{Engine: engine}, "castai-agent")["Pod castai-agent/static"].Conditions {
			have[c.Name] = c.Value
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("%s: -want +have\n%s", engine, d)
		}
	}
}

func TestInvalidManifestsAreErrorsWithTheirPosition(t *testing.T) {
	for text, want := range map[string]string{
		"a: [":                              "f.yaml:1: ",
		"kind: Pod\nspec: {containers: 3}":  "f.yaml: document 1: Pod",
		"kind: A\n---\n{kind: Pod, spec: {": "f.yaml:3: ",
	} {
		if _, err := readPods("f.yaml", []byte(text), Namespace{Name: "default"}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

// A custom resource may have containers of a schema of its own. It is named, and the other
// pods are evaluated. https://github.com/cloudoperators/greenhouse/pull/2002
func TestOtherContainersOfACustomResourceDoNotStopTheOthers(t *testing.T) {
	const own = "apiVersion: acme.example/v1\nkind: Custom\nmetadata: {name: own, namespace: castai-agent}\nspec: {containers: [{name: c, image: {name: quay.io/a/b, tag: v1}}]}\n"
	b := newBundle(t, deploy.Options{})
	reports, err := b.ExplainFiles(t.Context(), []string{"-"}, strings.NewReader(own+"---"+manifests), Namespace{Name: "castai-agent"})
	if err != nil || len(reports) != 4 {
		t.Fatal(reports, err)
	}
	if r := reports[0]; !strings.HasPrefix(r.Fault, "the containers are not those of a pod: ") || len(r.Images) != 0 || r.NeedsAction() {
		t.Errorf("%+v", r)
	}
	if r := reports[1]; r.Name != "nightly" || r.Fault != "" || r.Guard.Verdict != "passes" {
		t.Errorf("%+v", r)
	}
	if err := Outcome(reports); err == nil || !strings.HasPrefix(err.Error(), "Custom castai-agent/own, document 1: the containers") {
		t.Error(err)
	}
	var printed strings.Builder
	if err := Print(&printed, reports[:1], b.rules); err != nil || !strings.HasPrefix(printed.String(), "Custom castai-agent/own\n  error  the containers") || strings.Count(printed.String(), "\n") != 2 {
		t.Errorf("%v\n%s", err, printed.String())
	}
}

func TestAPodOfPrivateImagesNeedsNoActionInAnyNamespace(t *testing.T) {
	text := "{kind: Pod, apiVersion: v1, metadata: {name: p}, spec: {containers: [{name: c, image: " + registry + "/agent:1, env: [{name: SCANNERS_IMAGE, value: v1.2.3}]}]}}"
	reports, err := newBundle(t, deploy.Options{}).ExplainFiles(t.Context(), []string{"-"}, strings.NewReader(text), Namespace{Name: "default"})
	if err != nil || len(reports) != 1 || reports[0].Selected || reports[0].NeedsAction() {
		t.Errorf("%+v, %v", reports, err)
	}
}

func TestNamespaceLabelsDecideForTheSelector(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: registry, NamespaceSelector: rewrite.LabelSelector{MatchLabels: map[string]string{"example.com/tenant": "yes"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range deploy.Engines() {
		b, err := New(deploy.Options{Rules: rules, Config: []byte("registry: " + registry), Engine: engine})
		if err != nil {
			t.Fatal(err)
		}
		for labels, want := range map[string]bool{"yes": true, "no": false, "": false} {
			reports, err := b.ExplainFiles(t.Context(), []string{"-"}, strings.NewReader("{kind: Pod, apiVersion: v1, spec: {containers: [{name: c, image: busybox}]}}"),
				Namespace{Name: "tenant-a", Labels: map[string]string{"example.com/tenant": labels}})
			if err != nil || reports[0].Selected != want || reports[0].NeedsAction() == want {
				t.Errorf("%s, label %q: %+v, %v", engine, labels, reports, err)
			}
		}
	}
}

// The API server's decoder is case-sensitive, and kubectl refuses what it does not
// know. https://github.com/kubernetes/kubernetes/issues/64612
func TestUnknownFieldsAreNamed(t *testing.T) {
	const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: castai-agent}
spec:
  template:
    metadata: {Labels: {a: b}}
    spec:
      initcontainers: [{name: i, image: busybox}]
      containers: [{name: c, Image: alpine}]
`
	pods, err := readPods("f.yaml", []byte(deployment), Namespace{Name: "default"})
	if err != nil || len(pods) != 1 {
		t.Fatal(pods, err)
	}
	want := []string{`unknown field "spec.template.metadata.Labels"`, `unknown field "spec.template.spec.containers[0].Image"`, `unknown field "spec.template.spec.initcontainers"`}
	if d := cmp.Diff(want, pods[0].Warnings); d != "" {
		t.Errorf("-want +have\n%s", d)
	}
	r, err := newBundle(t, deploy.Options{}).Explain(t.Context(), pods[0])
	if err != nil || !r.NeedsAction() || len(r.Images) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	custom := strings.NewReplacer("apps/v1", "acme.example/v1", "Image: alpine", "image: alpine, own: field").Replace(deployment)
	if pods, err := readPods("f.yaml", []byte(custom), Namespace{}); err != nil || len(pods) != 1 || pods[0].Warnings != nil {
		t.Errorf("a custom resource: %+v, %v", pods, err)
	}
}
