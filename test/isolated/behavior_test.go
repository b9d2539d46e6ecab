// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const workload = `
kind: Deployment
spec:
  template:
    spec:
      initContainers:
      - {name: a, image: first, command: [sh, -c, exit 0]}
      - {name: b, image: sidecar, restartPolicy: Always}
      containers:
      - name: c
        image: quay.io/both@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        command: [/usr/bin/both, sh]
        ports: [{name: health, containerPort: 8081}]
        livenessProbe: {httpGet: {port: health}}
        readinessProbe: {tcpSocket: {port: 9000}}
        env: [{name: SCANNERS_IMAGE, value: quay.io/scanners}, {name: SCANNERS_IMAGE, value: v1}, {name: OTHER, value: quay.io/other}]
      volumes: [{name: d, image: {reference: volume}}]
---
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: e, image: quay.io/both}, {name: f, image: job}]}}}}}
---
kind: ConfigMap
data: {}
`

func TestAStandInBehavesAsTheManifestsExpect(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: Registry})
	if err != nil {
		t.Fatal(err)
	}
	got, commands, err := (&Node{Rules: rules}).wanted([]string{workload})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]behavior{
		"first": {ends: true}, "sidecar": {}, "volume": {}, "job": {ends: true}, "quay.io/scanners": {},
		// Used by a Job and by a service: it keeps running for the service.
		"quay.io/both": {ports: []int{9000, 8081}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(behavior{})); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/usr/bin/both", "sh"}, commands); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestAllCatalogImagesCanBePublished(t *testing.T) {
	rules, err := rewrite.New(rewrite.Config{Registry: Registry})
	if err != nil {
		t.Fatal(err)
	}
	images := CatalogImages()
	for _, image := range images {
		if r := rules.Image(image); r.Outcome != rewrite.Rewritten {
			t.Errorf("%s: %s", image, r.Rule)
		}
	}
	if len(images) < 100 {
		t.Errorf("there are only %d images", len(images))
	}
}
