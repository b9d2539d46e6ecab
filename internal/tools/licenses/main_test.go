// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mit = "MIT License\n\nPermission is hereby granted, free of charge, to any person"

func moduleWith(t *testing.T, path string, files map[string]string) module {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return module{Path: path, Version: "v1.0.0", Dir: dir}
}

func TestEachTextIsPrintedOnce(t *testing.T) {
	b := moduleWith(t, "example.com/b", map[string]string{"LICENSE": mit, "NOTICE": "Copyright b", "license.go": "package b"})
	a := moduleWith(t, "example.com/a", map[string]string{"LICENSE.md": mit + "\r\n"})
	out, err := render([]module{b, a})
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	for want, times := range map[string]int{
		"example.com/a v1.0.0 MIT [1]\nexample.com/b v1.0.0 MIT [1] [2]\n": 1,
		mit: 1, "Copyright b": 1, "package b": 0,
	} {
		if got := strings.Count(text, want); got != times {
			t.Errorf("%q stands there %d times, want %d:\n%s", want, got, times, text)
		}
	}
}

func TestALicenseThatIsNotKnownIsRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no file":         nil,
		"an unknown text": {"LICENSE": "GNU GENERAL PUBLIC LICENSE Version 3"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := render([]module{moduleWith(t, "example.com/x", files)}); err == nil || !strings.Contains(err.Error(), "example.com/x") {
				t.Errorf("render: %v, want an error that names the module", err)
			}
		})
	}
}

func TestAFileThatIsOutOfDateIsAnError(t *testing.T) {
	t.Chdir("../../..")
	old := filepath.Join(t.TempDir(), "licenses")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(nil, old); err == nil || !strings.Contains(err.Error(), "make generate") {
		t.Errorf("run: %v, want an error with the command that mends it", err)
	}
}
