// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// TestGolden rewrites testdata/<case>/in.* and compares the text with want.* and
// what was found with found.txt.
func TestGolden(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/in.*")
	if err != nil || len(inputs) == 0 {
		t.Fatal("no cases in testdata", err)
	}
	for _, path := range inputs {
		dir, file := filepath.Split(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			in, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out, f, err := Rewrite(file, in, rules(t))
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, filepath.Join(dir, "want"+filepath.Ext(file)), out)
			golden.Compare(t, filepath.Join(dir, "found.txt"), found(f.Changes))
			if a, b := bytes.Count(in, []byte("\n")), bytes.Count(out, []byte("\n")); a != b {
				t.Errorf("the text had %d lines and has %d", a, b)
			}
		})
	}
}

func found(changes []Change) []byte {
	var b bytes.Buffer
	for _, c := range changes {
		fmt.Fprintf(&b, "line %d, document %d, %s %s/%s, %s\n  %s\n", c.Line, c.Document, c.Kind, c.Namespace, c.Name, c.Path, c.Result.Source)
		switch {
		case c.Obstacle != "":
			fmt.Fprintf(&b, "  obstacle: %s\n", c.Obstacle)
		case c.Written():
			fmt.Fprintf(&b, "  %s (%s)\n", strings.Replace(c.Result.Target, ecr+"/", "…/", 1), c.Result.Rule)
		default:
			fmt.Fprintf(&b, "  as it is (%s)\n", c.Result.Rule)
		}
	}
	return b.Bytes()
}
