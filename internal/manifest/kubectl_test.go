// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestKubectlReadsTheSame reads the golden cases with kubectl's decoder, which
// stands on another YAML parser and splits the documents itself.
func TestKubectlReadsTheSame(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/in.*")
	if err != nil || len(inputs) == 0 {
		t.Fatal("no cases in testdata", err)
	}
	for _, path := range inputs {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			in, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r := rules(t)
			out, changes, err := Rewrite(path, in, r)
			if err != nil {
				t.Fatal(err)
			}
			before, after := kubectl(t, in), kubectl(t, out)
			o := oracle{rules: r, obstacles: map[string]bool{}}
			for _, c := range changes {
				o.obstacles[c.Path] = c.Obstacle != ""
			}
			for i := range before {
				o.object(before[i], "", "")
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(before) == 0 && len(changes) > 0 {
				t.Error("kubectl sees no documents")
			}
		})
	}
}

func kubectl(t *testing.T, text []byte) (docs []any) {
	t.Helper()
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var doc any
		switch err := d.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return docs
		case err != nil:
			t.Fatal(fmt.Errorf("kubectl does not read it: %w\n%s", err, text))
		case doc != nil:
			docs = append(docs, doc)
		}
	}
}
