// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOtherValuesThatLookLikePublicImages(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"arguments and variables of a container": {
			pod("  - image: busybox\n    args: ['--reloader=quay.io/acme/reloader:1', -x, \"quay.io/acme/a@sha256:" + strings.Repeat("0", 64) + "\"]\n    env: [{name: OTHER, value: 'ghcr.io/acme/b:1,ghcr.io/acme/c:2'}]\n"),
			[]string{
				"Pod  /spec/containers/0/args/0 quay.io/acme/reloader:1", "Pod  /spec/containers/0/args/2 quay.io/acme/a@sha256:" + strings.Repeat("0", 64),
				"Pod  /spec/containers/0/env/0/value ghcr.io/acme/b:1", "Pod  /spec/containers/0/env/0/value ghcr.io/acme/c:2",
			},
		},
		"a manifest in a ConfigMap": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  pod.yaml: |\n    containers:\n    - {image: \"quay.io/acme/a:1\"}\n",
			[]string{"ConfigMap c /data/pod.yaml quay.io/acme/a:1"},
		},
		"an image in a list of objects": {
			"kind: List\nitems:\n- {kind: ConfigMap, metadata: {name: a}, data: {x: 'quay.io/acme/a:1'}}\n- {kind: ConfigMap, metadata: {name: b}, data: {x: 'quay.io/acme/b:1'}}\n",
			[]string{"ConfigMap a /items/0/data/x quay.io/acme/a:1", "ConfigMap b /items/1/data/x quay.io/acme/b:1"},
		},
		// https://github.com/kubernetes-sigs/kustomize/issues/5138
		// https://github.com/kubernetes-sigs/kustomize/issues/5889
		"fields named image in custom resources": {
			"apiVersion: argoproj.io/v1alpha1\nkind: WorkflowTemplate\nmetadata: {name: w}\nspec: {templates: [{script: {image: kubectl}}, {container: {image: auto}}, {volumes: [{image: {reference: 'quay.io/a/b:1'}}]}]}\n",
			[]string{"WorkflowTemplate w /spec/templates/0/script/image kubectl", "WorkflowTemplate w /spec/templates/2/volumes/0/image/reference quay.io/a/b:1"},
		},
		// https://github.com/pact-foundation/pact-broker-chart/pull/243
		// https://github.com/codeready-toolchain/claw-operator/pull/157
		"fields whose tag stands in another one": {
			"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: r}\nspec: {values: {image: {repository: quay.io/acme/a, tag: v1}, git: {repository: 'https://github.com/acme/a'}, short: {repository: acme/a}, own: {repository: '" + ecr + "/a'}}}\n" +
				"---\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages: [{name: a, newName: quay.io/acme/b, newTag: '9075807'}]\n",
			[]string{"HelmRelease r /spec/values/image/repository quay.io/acme/a", "Kustomization  /images/0/newName quay.io/acme/b"},
		},
		"a pod template, which has metadata and is no object of its own": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {metadata: {name: t}, spec: {containers: [{image: busybox, args: ['quay.io/acme/a:1']}]}}}\n",
			[]string{"Deployment d /spec/template/spec/containers/0/args/0 quay.io/acme/a:1"},
		},
		"what stands behind the values that are skipped": {
			"kind: ConfigMap\nmetadata: {name: c, annotations: {kubectl.kubernetes.io/last-applied-configuration: 'a.io/a:1', z: 'quay.io/acme/z:1'}}\nstatus: {x: 'a.io/a:1'}\nz: 'quay.io/acme/y:1'\n",
			[]string{"ConfigMap c /metadata/annotations/z quay.io/acme/z:1", "ConfigMap c /z quay.io/acme/y:1"},
		},
		"a text in place of an object": {"quay.io/acme/a:1\n", []string{"   quay.io/acme/a:1"}},
		"a field of a wrong case": {
			pod("  - {name: a, Image: ghcr.io/castai/images/a:1}\n"),
			[]string{"Pod  /spec/containers/0/Image ghcr.io/castai/images/a:1"},
		},
		"what is none": {
			pod("  - image: quay.io/acme/a:1\n    args: [https://example.com/x:1, example.com/x, 'localhost:5000/a:1', /etc/x.y/z:1, '"+ecr+"/a:1', acme/x:1, my_host.io/x:1]\n    env: [{name: SCANNERS_IMAGE, value: quay.io/acme/b:1}]\n") +
				"---\nkind: Secret\nmetadata: {name: s}\nstringData: {image: 'quay.io/acme/secret:1'}\n" +
				"---\nkind: CustomResourceDefinition\nspec: {description: 'such as quay.io/acme/a:1'}\n" +
				"---\nkind: ConfigMap\nmetadata: {name: c, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"image\": \"quay.io/acme/a:1\"}', privatelink.cast.ai/original-images: '{\"containers/a\":\"quay.io/acme/a:1\"}'}}\nimage: disk\n" +
				"---\nkind: Node\nstatus: {images: [{names: ['quay.io/acme/a:1']}]}\n",
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Parse("in", []byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, o := range m.Find(rules(t)).Others {
				have = append(have, strings.Join([]string{o.Kind, o.Name, o.Path, o.Image}, " "))
			}
			if diff := cmp.Diff(tc.want, have); diff != "" {
				t.Errorf("-want +have\n%s", diff)
			}
		})
	}
}

func TestTheNoteNamesTheFirstValues(t *testing.T) {
	m, err := Parse("in", []byte("kind: ConfigMap\nmetadata: {name: \"c\\n\\e[1m\"}\ndata: {a: 'a.io/a:1', b: 'b.io/b:1', c: 'c.io/c:1', d: 'd.io/d:1'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `4 other values look like public images: ConfigMap c\n\x1b[1m /data/a a.io/a:1, ConfigMap c\n\x1b[1m /data/b b.io/b:1, ConfigMap c\n\x1b[1m /data/c c.io/c:1, …: list environment variables in envVars, and change other values by hand`
	if have := m.Find(rules(t)).NoteOthers(); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
	three := Found{Others: []Other{{Kind: "A", Path: "/a", Image: "a.io/a:1"}, {Kind: "A", Path: "/b", Image: "a.io/b:1"}, {Kind: "A", Path: "/c", Image: "a.io/c:1"}}}
	want = "3 other values look like public images: A /a a.io/a:1, A /b a.io/b:1, A /c a.io/c:1: list environment variables in envVars, and change other values by hand"
	if have := three.NoteOthers(); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
	if have := (Found{}).NoteOthers(); have != "" {
		t.Error(have)
	}
}
