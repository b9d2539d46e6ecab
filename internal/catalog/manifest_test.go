// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const text = `apiVersion: apps/v1
kind: Deployment
metadata: {name: autoscaler}
spec:
  replicas: 0
  template:
    spec:
      containers:
      - name: a
        image: ghcr.io/castai/images/workload-autoscaler:v1
        env:
        - {name: JMX_EXPORTER_INIT_IMAGE, value: "quay.io/acme/jmx-exporter-init:2"}
        - {name: SCANNERS_IMAGE, value: v1.2.3}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  volumes: [{name: model, image: {reference: quay.io/acme/model}}]
  containers: [{name: a, image: "X Y"}, {name: istio-proxy, image: auto}]
`

func TestManifestsAreListedByFileAndLine(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	found, err := l.AddManifest(Manifest, "a.yaml", []byte(text))
	if err != nil || len(found.Changes) != 6 {
		t.Fatalf("%d fields, %v", len(found.Changes), err)
	}
	got := map[string]string{}
	for _, i := range l.Images() {
		got[i.Source] = i.Origins[0].String()
	}
	want := map[string]string{
		"ghcr.io/castai/images/workload-autoscaler:v1": "a.yaml:10 Deployment autoscaler",
		"quay.io/acme/jmx-exporter-init:2":             "a.yaml:12 Deployment autoscaler",
		"quay.io/acme/model":                           "a.yaml:19 Pod p",
		"X Y":                                          "a.yaml:20 Pod p",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTextThatIsNoManifestAddsNothing(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	if _, err := l.AddManifest(Manifest, "a.yaml", []byte(text+"---\n[")); err == nil || !strings.Contains(err.Error(), "a.yaml:") {
		t.Error(err)
	}
	if got := l.Images(); len(got) != 0 {
		t.Error(got)
	}
}

func TestFieldsWithoutAnImageAreUnmapped(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	text := "kind: Pod\nspec: {containers: [{image: 5}, {image: '{{ .image }}'}, {image: my_host.io/x:1}, {env: [{name: SCANNERS_IMAGE, value: 6}]}]}"
	if _, err := l.AddManifest(Manifest, "a.yaml", []byte(text)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, i := range l.Images() {
		if !i.Unmapped() || i.Copy {
			t.Errorf("%s is mapped: %+v", i.Source, i)
		}
		got[i.Source] = i.Rule
	}
	want := map[string]string{
		"5": "not rewritten: a number in place of text", "6": "not rewritten: a number in place of text",
		"{{ .image }}": "not rewritten: not an image reference", "my_host.io/x:1": "not rewritten: no registry host",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
