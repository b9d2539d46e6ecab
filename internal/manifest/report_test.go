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
