// SPDX-License-Identifier: Apache-2.0

package manpage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func program() *cobra.Command {
	root := &cobra.Command{Use: "tool", Short: "Do things", Long: "Do things.\n\nExit codes:\n  0  done\n  1  something failed,\n     or could not be tried"}
	run := func(*cobra.Command, []string) {}
	root.AddCommand(&cobra.Command{Use: "copy", Short: "Copy things", Run: run}, &cobra.Command{Use: "secret", Hidden: true, Run: run})
	return root
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	// The last second of a month in UTC is another month elsewhere.
	if err := Write(program(), "v1.2.3", time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC), dir); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"tool-copy.1", "tool.1"}; !slices.Equal(names, want) {
		t.Errorf("pages %v, want %v", names, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "tool.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"Nov 2026" "tool v1.2.3" "Manual of tool"`, "\n0  done\n", "\n1  something failed,\n", "or could not be tried\n", "\ncopy         Copy things\n", "tool-copy(1)"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, not := range []string{"Auto generated", "secret"} { // the day of the build, a hidden command
		if strings.Contains(string(text), not) {
			t.Errorf("%q is in\n%s", not, text)
		}
	}
}
