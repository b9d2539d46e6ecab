// SPDX-License-Identifier: Apache-2.0

//go:build webhookimage

package webhookimage

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"testing"
)

// TestCarried compares what the program carries with the folder that it was built from.
func TestCarried(t *testing.T) {
	want, err := readFiles(os.DirFS(cmp.Or(os.Getenv("WEBHOOK_LAYOUT"), "layout")))
	got, err2 := readFiles(Layout())
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if len(want) < 9 || !maps.Equal(got, want) {
		t.Errorf("the program has %d files, and the layout %d", len(got), len(want))
	}
}

func readFiles(layout fs.FS) (map[string]string, error) {
	files := map[string]string{}
	return files, fs.WalkDir(layout, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(layout, name)
		files[name] = string(text)
		return err
	})
}
