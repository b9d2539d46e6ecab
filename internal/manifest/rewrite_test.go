// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func rules(t testing.TB) *rewrite.Rules {
	t.Helper()
	r, err := rewrite.New(rewrite.Config{Registry: ecr})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pod is a pod around the text of its only container; ECR/ stands for the registry.
func pod(container string) string {
	return "kind: Pod\nspec:\n  containers:\n" + container
}

// notations are the ways to write an image; ECR/ stands for the registry.
var notations = map[string]struct{ in, want string }{
	"a plain value": {
		pod("  - image: ghcr.io/castai/images/agent:v1\n"),
		pod("  - image: ECR/agent:v1\n"),
	},
	"single quotes": {
		pod("  - image: 'ghcr.io/castai/images/agent:v1'   # 'kept'\n"),
		pod("  - image: 'ECR/agent:v1'   # 'kept'\n"),
	},
	"double quotes": {
		pod("  - \"image\":   \"ghcr.io/castai/images/agent:v1\"\t# \"kept\"\n"),
		pod("  - \"image\":   \"ECR/agent:v1\"\t# \"kept\"\n"),
	},
	"double quotes with escapes": {
		pod(`  - image: "ghcr.io/castai/images/\x61gent:\u0076\
      1"` + "\n"),
		pod(`  - image: "ECR/agent:v1"` + "\n"),
	},
	"a literal block without a final break": {
		pod("  - image: |-\n      ghcr.io/castai/images/agent:v1\n\n    name: a\n"),
		pod("  - image: |-\n      ECR/agent:v1\n\n    name: a\n"),
	},
	"a folded block with an indentation indicator and a comment": {
		pod("  - image: >4-  # why not\n        ghcr.io/castai/images/agent:v1\n    name: a\n"),
		pod("  - image: >4-  # why not\n        ECR/agent:v1\n    name: a\n"),
	},
	"a tag before the value": {
		pod("  - image: !!str ghcr.io/castai/images/agent:v1\n"),
		pod("  - image: !!str ECR/agent:v1\n"),
	},
	"the non-specific tag, with quotes": {
		pod("  - image: ! 'ghcr.io/castai/images/agent:v1'\n"),
		pod("  - image: ! 'ECR/agent:v1'\n"),
	},
	"an anchor and a tag on lines of their own, comments between": {
		pod("  - image: &a # one\n      # two\n      !!str\n      ghcr.io/castai/images/agent:v1\n"),
		pod("  - image: &a # one\n      # two\n      !!str\n      ECR/agent:v1\n"),
	},
	"JSON with a number that no machine holds": {
		`{"x":1e999}{"kind":"Pod","spec":{"containers":[{"image":"busybox"}]}}`,
		`{"x":1e999}{"kind":"Pod","spec":{"containers":[{"image":"ECR/docker.io/library/busybox"}]}}`,
	},
	"flow style with a comma right behind": {
		"{kind: Pod, spec: {containers: [{image: ghcr.io/castai/images/agent:v1,name: a},{image: busybox}]}}",
		"{kind: Pod, spec: {containers: [{image: ECR/agent:v1,name: a},{image: ECR/docker.io/library/busybox}]}}",
	},
	"flow style with a value at the start of a line": {
		"{kind: Pod, spec: {containers: [{image:\nbusybox}]}}\n",
		"{kind: Pod, spec: {containers: [{image:\nECR/docker.io/library/busybox}]}}\n",
	},
	"characters of several bytes before the value on its line": {
		pod("  - {name: \"größe 🚢 ʼ\", image: busybox} # 🚢\n"),
		pod("  - {name: \"größe 🚢 ʼ\", image: ECR/docker.io/library/busybox} # 🚢\n"),
	},
	"a value on the line below its key": {
		pod("  - image:\n\n      # far away\n      busybox:1\n"),
		pod("  - image:\n\n      # far away\n      ECR/docker.io/library/busybox:1\n"),
	},
	"an explicit key": {
		pod("  - ? image\n    : busybox:1\n"),
		pod("  - ? image\n    : ECR/docker.io/library/busybox:1\n"),
	},
	"a comment right behind and spaces at the end": {
		pod("  - image: busybox:1 #pin: busybox:1  \n    name: a   \n"),
		pod("  - image: ECR/docker.io/library/busybox:1 #pin: busybox:1  \n    name: a   \n"),
	},
	"CRLF line ends": {
		"# héad\r\nkind: Pod\r\nspec:\r\n  containers:\r\n  - image: busybox\r\n    name: |\r\n      a\r\n  - image: |-\r\n      busybox\r\n",
		"# héad\r\nkind: Pod\r\nspec:\r\n  containers:\r\n  - image: ECR/docker.io/library/busybox\r\n    name: |\r\n      a\r\n  - image: |-\r\n      ECR/docker.io/library/busybox\r\n",
	},
	"CR line ends": {
		"kind: Pod\rspec:\r  containers:\r  - image: busybox\r",
		"kind: Pod\rspec:\r  containers:\r  - image: ECR/docker.io/library/busybox\r",
	},
	"the breaks that only YAML counts": {
		"kind: Pod\nx: \"a\u2028b\u0085c\u2029\"\nspec:\n  containers:\n  - image: busybox\n",
		"kind: Pod\nx: \"a\u2028b\u0085c\u2029\"\nspec:\n  containers:\n  - image: ECR/docker.io/library/busybox\n",
	},
	"a byte order mark, with the value on the first line": {
		"\ufeff{kind: Pod, spec: {containers: [{image: busybox}]}}\n",
		"\ufeff{kind: Pod, spec: {containers: [{image: ECR/docker.io/library/busybox}]}}\n",
	},
	"document markers and empty documents": {
		"---\n---\n# nothing\n--- # pod\nkind: Pod\nspec: {containers: [{image: busybox}]}\n...\n# end\n",
		"---\n---\n# nothing\n--- # pod\nkind: Pod\nspec: {containers: [{image: ECR/docker.io/library/busybox}]}\n...\n# end\n",
	},
	"no line end at the end": {
		pod("  - image: busybox"),
		pod("  - image: ECR/docker.io/library/busybox"),
	},
	"tag and digest": {
		pod("  - image: busybox:1@sha256:" + strings.Repeat("ab", 32) + "\n"),
		pod("  - image: ECR/docker.io/library/busybox:1@sha256:" + strings.Repeat("ab", 32) + "\n"),
	},
}

// anchors are texts whose aliases share an image.
var anchors = map[string]struct{ in, want string }{
	"an alias of an image keeps being one, for both read the same": {
		pod("  - image: &img busybox:1\n  - image: *img # same\n"),
		pod("  - image: &img ECR/docker.io/library/busybox:1\n  - image: *img # same\n"),
	},
	"an alias of a text elsewhere becomes the image": {
		"metadata: {labels: {img: &img busybox:1}}\n" + pod("  - image: *img # here\n  - {name: b, image: *img}\n"),
		"metadata: {labels: {img: &img busybox:1}}\n" + pod("  - image: ECR/docker.io/library/busybox:1 # here\n  - {name: b, image: ECR/docker.io/library/busybox:1}\n"),
	},
	"an alias elsewhere of an image becomes the old text": {
		pod("  - image: &img ghcr.io/castai/images/agent:1\n    args: [*img, -x,*img]\n    name: *img\n"),
		pod("  - image: &img ECR/agent:1\n    args: [ghcr.io/castai/images/agent:1, -x,ghcr.io/castai/images/agent:1]\n    name: ghcr.io/castai/images/agent:1\n"),
	},
	"an alias elsewhere, and an image behind it on the same line": {
		"{kind: Pod, spec: {containers: [{image: &img ghcr.io/x/y:1, args: [*img]}, {image: ghcr.io/x/z:1}]}}\n",
		"{kind: Pod, spec: {containers: [{image: &img ECR/ghcr.io/x/y:1, args: [ghcr.io/x/y:1]}, {image: ECR/ghcr.io/x/z:1}]}}\n",
	},
	"a text that needs quotes gets them": {
		pod("  - image: &img !!str 123\n    args: [*img]\n"),
		pod("  - image: &img !!str ECR/docker.io/library/123\n    args: [\"123\"]\n"),
	},
	"a text that would read as a number gets quotes": {
		pod("  - image: &img !!str 1.5\n    args: [*img]\n"),
		pod("  - image: &img !!str ECR/docker.io/library/1.5\n    args: [\"1.5\"]\n"),
	},
	"an alias as a key becomes the old text": {
		pod("  - image: &img ghcr.io/x/y:1\n    resources: {*img : 1, *img: 2}\n"),
		pod("  - image: &img ECR/ghcr.io/x/y:1\n    resources: {ghcr.io/x/y:1 : 1, \"ghcr.io/x/y:1\": 2}\n"),
	},
	"a listed variable follows the image that it repeats": {
		pod("  - image: &img ghcr.io/x/y:1\n    env:\n    - {name: SCANNERS_IMAGE, value: *img}\n    - {name: OTHER, value: *img}\n"),
		pod("  - image: &img ECR/ghcr.io/x/y:1\n    env:\n    - {name: SCANNERS_IMAGE, value: *img}\n    - {name: OTHER, value: ghcr.io/x/y:1}\n"),
	},
	"a short name is an image, but none as a variable": {
		pod("  - image: &img busybox\n    env: [{name: SCANNERS_IMAGE, value: *img}]\n"),
		pod("  - image: &img ECR/docker.io/library/busybox\n    env: [{name: SCANNERS_IMAGE, value: \"busybox\"}]\n"),
	},
	"a shared container is written once": {
		pod("  - &c\n    image: busybox\n  - *c\n  - {<<: *c, name: b}\n"),
		pod("  - &c\n    image: ECR/docker.io/library/busybox\n  - *c\n  - {<<: *c, name: b}\n"),
	},
	"an own image overrides the merged one": {
		"x: &c {image: busybox}\n" + pod("  - {<<: *c, image: alpine}\n"),
		"x: &c {image: busybox}\n" + pod("  - {<<: *c, image: ECR/docker.io/library/alpine}\n"),
	},
	"the first of several merged mappings counts": {
		pod("  - &a {image: busybox}\n  - &b {image: alpine, name: b}\n  - {<<: [*a, *b]}\n"),
		pod("  - &a {image: ECR/docker.io/library/busybox}\n  - &b {image: ECR/docker.io/library/alpine, name: b}\n  - {<<: [*a, *b]}\n"),
	},
	"a shared pod spec is written once": {
		"kind: List\nitems:\n- kind: Deployment\n  spec: {template: {spec: &p {containers: [{image: busybox}]}}}\n- kind: Pod\n  spec: *p\n",
		"kind: List\nitems:\n- kind: Deployment\n  spec: {template: {spec: &p {containers: [{image: ECR/docker.io/library/busybox}]}}}\n- kind: Pod\n  spec: *p\n",
	},
	"an anchor that is used again has its own aliases": {
		pod("  - image: &i busybox\n  - image: *i\n  - name: &i alpine\n    image: *i\n"),
		pod("  - image: &i ECR/docker.io/library/busybox\n  - image: *i\n  - name: &i alpine\n    image: ECR/docker.io/library/alpine\n"),
	},
	"the kind and the variable's name may be aliases": {
		"metadata: {name: &k Pod}\n" + "kind: *k\nspec: {containers: [{name: &n SCANNERS_IMAGE, env: [{name: *n, value: a.io/b}]}]}",
		"metadata: {name: &k Pod}\n" + "kind: *k\nspec: {containers: [{name: &n SCANNERS_IMAGE, env: [{name: *n, value: ECR/a.io/b}]}]}",
	},
}

func TestTheNotationIsKept(t *testing.T) { testTexts(t, notations) }

func TestAnchorsKeepTheirMeaning(t *testing.T) { testTexts(t, anchors) }

func testTexts(t *testing.T, cases map[string]struct{ in, want string }) {
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, found, err := Rewrite("in.yaml", []byte(tc.in), rules(t))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(tc.want, "ECR/", ecr+"/")
			if diff := cmp.Diff(want, string(out)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, c := range found.Changes {
				if c.Obstacle != "" {
					t.Errorf("not rewritten: %s", c.Obstacle)
				}
			}
		})
	}
}
