// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.json", "c.yml", "d.txt", "sub/e.yaml", "empty/x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for name, tc := range map[string]struct {
		names []string
		want  string
		err   string
	}{
		"each file in the given order":   {[]string{"d.txt", "a.json", "d.txt"}, "d.txt=d.txt a.json=a.json d.txt=d.txt", ""},
		"standard input among files":     {[]string{"b.yaml", "-"}, "b.yaml=b.yaml standard input=stdin", ""},
		"a folder, without others in it": {[]string{"."}, "a.json=a.json b.yaml=b.yaml c.yml=c.yml", ""},
		"a folder without manifests":     {[]string{"a.json", "empty"}, "", "empty: no .json, .yaml or .yml file in this folder; subfolders are not read"},
		"standard input twice":           {[]string{"-", "a.json", "-"}, "", ErrStdinTwice.Error()},
		"a URL":                          {[]string{"https://example.com/a.yaml"}, "", "https://example.com/a.yaml: URLs are not read: download the manifest with curl and use -f -"},
		"none":                           {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inputs, err := ReadFiles(tc.names, strings.NewReader("stdin"))
			var have []string
			for _, i := range inputs {
				have = append(have, i.Name+"="+string(i.Text))
			}
			if diff := cmp.Diff(tc.want, strings.Join(have, " ")); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
	if _, err := ReadFiles([]string{"a.json", "x"}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := ReadFiles([]string{"-"}, iotest.ErrReader(errors.New("broken pipe"))); err == nil || err.Error() != "standard input: broken pipe" {
		t.Errorf("error %v", err)
	}
}
