// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// mixed has an image of each kind: mapped, unmapped, with an obstacle (the
// anchor also stands for a command), and an environment value that is only a tag.
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
	_, changes, err := Rewrite("pod.yaml", []byte(mixed), rules(t))
	if err != nil {
		t.Fatal(err)
	}
	for file, verbose := range map[string]bool{"problems.txt": false, "verbose.txt": true} {
		t.Run(file, func(t *testing.T) {
			var out bytes.Buffer
			if n := Report(&out, "pod.yaml", changes, verbose); n != 2 {
				t.Errorf("%d problems, want 2", n)
			}
			golden.Compare(t, filepath.Join("testdata", "report", file), out.Bytes())
		})
	}
}

func TestReadFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pod.yaml")
	if err := os.WriteFile(file, []byte("kind: Pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, text, err := ReadFile(file, nil); name != file || string(text) != "kind: Pod\n" || err != nil {
		t.Errorf("%q, %q, %v", name, text, err)
	}
	if name, text, err := ReadFile("-", strings.NewReader("kind: List\n")); name != "standard input" || string(text) != "kind: List\n" || err != nil {
		t.Errorf("%q, %q, %v", name, text, err)
	}
	if _, _, err := ReadFile(file+"x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, _, err := ReadFile("-", iotest.ErrReader(errors.New("broken pipe"))); err == nil || err.Error() != "standard input: broken pipe" {
		t.Errorf("error %v", err)
	}
}
