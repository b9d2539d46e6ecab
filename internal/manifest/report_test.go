// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// mixed has an image of each kind: mapped, unmapped, with an obstacle (the
// anchor also stands for a command), and an environment value without a host.
const mixed = `kind: Pod
metadata: {name: p}
spec:
  containers:
  - {name: a, image: nginx, env: [{name: SCANNERS_IMAGE, value: v1}]}
  - {name: b, image: 'X Y'}
  - &c {name: c, image: busybox}
  hooks:
  - {<<: *c, name: d}
`

func TestReport(t *testing.T) {
	_, found, err := Rewrite("pod.yaml", []byte(mixed), rules(t))
	if err != nil {
		t.Fatal(err)
	}
	if found.Workloads != 1 {
		t.Errorf("%d workloads, want 1", found.Workloads)
	}
	for file, verbose := range map[string]bool{"problems.txt": false, "verbose.txt": true} {
		t.Run(file, func(t *testing.T) {
			var out bytes.Buffer
			if n := Report(&out, "pod.yaml", found, verbose); n != 3 {
				t.Errorf("%d problems, want 3", n)
			}
			golden.Compare(t, filepath.Join("testdata", "report", file), out.Bytes())
		})
	}
}

func TestReportNamesTemplatesAndFilesWithoutWorkloads(t *testing.T) {
	for in, want := range map[string]string{
		pod("  - image: '{{ .Values.image }}'\n"): "privatelink: in:4: Pod: \"{{ .Values.image }}\": not rewritten: not an image reference: " + renderFirst + "\n",
		pod("  - image: 5\n"):                     "privatelink: in:4: Pod: \"5\": not rewritten: a number in place of text\n",
		pod("  - image: auto\n"):                  "",
		"kind: ConfigMap\n":                       "privatelink: in: no pod and no object with a pod template in it\n",
		"# nothing\n":                             "privatelink: in: no pod and no object with a pod template in it\n",
		"kind: ConfigMap\nimage: a.io/b:1\n":      "privatelink: in: no pod and no object with a pod template in it\nprivatelink: in: 1 other value looks like a public image: ConfigMap /image a.io/b:1: list environment variables in envVars, and change other values by hand\n",
	} {
		m, err := Parse("in", []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		Report(&out, "in", m.Find(rules(t)), false)
		if out.String() != want {
			t.Errorf("%q: %s\nwant %s", in, out.String(), want)
		}
	}
}
