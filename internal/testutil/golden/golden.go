// SPDX-License-Identifier: Apache-2.0

// Package golden compares the output of a test with a file in testdata, and
// updates the file with the flag -update:
//
//	go test ./internal/cel -update
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "update generated files and golden files")

// Update reports whether the flag -update is set, for tests that update a part of
// a file.
func Update() bool { return *update }

// Compare fails the test if got differs from the file.
func Compare(t testing.TB, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run the test with -update and review the file", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs: run the test with -update if this is intended (-want +got)\n%s", file, diff)
	}
}

// CompareSection fails the test if got differs from what stands between two lines of the
// file.
func CompareSection(t testing.TB, file, begin, end, got string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin+"\n")
	_, after, closed := strings.Cut(rest, end+"\n")
	if !ok || !closed {
		t.Fatalf("%s has no lines %s and %s", file, begin, end)
	}
	Compare(t, file, []byte(before+begin+"\n"+got+end+"\n"+after))
}
