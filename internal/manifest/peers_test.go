// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReportedCases has inputs that were reported as faults of other programs.
func TestReportedCases(t *testing.T) {
	for source, tc := range map[string]struct{ in, want string }{
		"https://github.com/kubernetes/kubernetes/issues/103185": {
			pod("  - image: busybox\n") + "--- # something\n" + pod("  - image: alpine\n"),
			pod("  - image: ECR/docker.io/library/busybox\n") + "--- # something\n" + pod("  - image: ECR/docker.io/library/alpine\n"),
		},
		"https://github.com/kubernetes-sigs/kustomize/issues/6238": {
			"apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {volumes: [{image: {reference: quay.io/a/b:1}}]}}}}}\n",
			"apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {volumes: [{image: {reference: ECR/quay.io/a/b:1}}]}}}}}\n",
		},
		"https://github.com/mariadb-operator/mariadb-operator/issues/226": {
			"apiVersion: k8s.mariadb.com/v1alpha1\nkind: MariaDB\nspec:\n  initContainers:\n  - image: {repository: mariadb, tag: 10.11.5}\n",
			"apiVersion: k8s.mariadb.com/v1alpha1\nkind: MariaDB\nspec:\n  initContainers:\n  - image: {repository: mariadb, tag: 10.11.5}\n",
		},
		"https://github.com/istio/istio/issues/36650": {
			"apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{name: istio-proxy, image: auto}]}}}\n",
			"apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{name: istio-proxy, image: auto}]}}}\n",
		},
		"https://github.com/mikefarah/yq/issues/1871": {
			"---\r\n# document 1\r\nkind: Pod\r\nspec: {containers: [{image: busybox}]}\r\n---\r\n# document 2\r\nkind: Pod\r\nspec: {containers: [{image: alpine}]}\r\n",
			"---\r\n# document 1\r\nkind: Pod\r\nspec: {containers: [{image: ECR/docker.io/library/busybox}]}\r\n---\r\n# document 2\r\nkind: Pod\r\nspec: {containers: [{image: ECR/docker.io/library/alpine}]}\r\n",
		},
		"https://github.com/mikefarah/yq/issues/2074": {
			pod("  - image: busybox\n    args:\n    - >-\n      '{\n        \"a\": \"400\",\n       }'\n"),
			pod("  - image: ECR/docker.io/library/busybox\n    args:\n    - >-\n      '{\n        \"a\": \"400\",\n       }'\n"),
		},
		"https://github.com/kubernetes-sigs/kustomize/issues/4144": {
			pod("  - &foo\n    name: foo\n    image: traefik/whoami\n  - <<: *foo\n    name: bar\n"),
			pod("  - &foo\n    name: foo\n    image: ECR/docker.io/traefik/whoami\n  - <<: *foo\n    name: bar\n"),
		},
		"https://github.com/go-yaml/yaml/issues/918": {
			"x: &a {image: busybox}\ny: &b {name: b}\n" + pod("  - <<: *b\n    <<: *b\n    image: alpine\n"),
			"x: &a {image: busybox}\ny: &b {name: b}\n" + pod("  - <<: *b\n    <<: *b\n    image: ECR/docker.io/library/alpine\n"),
		},
		"https://github.com/carvel-dev/kbld/issues/23": {
			pod("  - image: busybox #@ data.values.image\n    #! kept\n"),
			pod("  - image: ECR/docker.io/library/busybox #@ data.values.image\n    #! kept\n"),
		},
	} {
		out, _, err := Rewrite("in.yaml", []byte(tc.in), rules(t))
		if err != nil {
			t.Errorf("%s: %v", source, err)
		}
		if diff := cmp.Diff(strings.ReplaceAll(tc.want, "ECR/", ecr+"/"), string(out)); diff != "" {
			t.Errorf("%s: -want +got\n%s", source, diff)
		}
	}
}
