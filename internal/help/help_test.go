// SPDX-License-Identifier: Apache-2.0

package help

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestWrap(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"text that fits stays as it is": {"one two\nthree\n\n  0  done\n", "one two\nthree\n\n  0  done\n"},
		"a paragraph is filled":         {"one two three four five\nsix\n\nseven", "one two three four\nfive six\n\nseven"},
		"an item is filled at its text": {"codes:\n  0  done\n  1  some thing could not\n     be done\n  2  x", "codes:\n  0  done\n  1  some thing\n     could not be\n     done\n  2  x"},
		"a word that is too long stays": {"a-word-that-is-longer-than-20 b", "a-word-that-is-longer-than-20\nb"},
		"commands stay one line":        {"so:\n    a command --with-flags\n\nthen that is the end", "so:\n    a command --with-flags\n\nthen that is the end"},
		"nothing":                       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wrap(tc.in, 20); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestFit(t *testing.T) {
	const columns = 60
	help := func(columns int) string {
		run := func(*cobra.Command, []string) {}
		root := &cobra.Command{Use: "tool", Run: run}
		c := &cobra.Command{Use: "copy", Long: strings.Repeat("copies things ", 20), Run: run}
		c.Flags().String("to", "", "`FILE` to write, "+strings.Repeat("and more ", 20))
		root.AddCommand(c)
		Fit(root, columns)
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs([]string{"copy", "--help"})
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for line := range strings.Lines(help(columns)) {
		if len(line) > columns+1 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if file := help(0); !strings.Contains(file, strings.TrimSpace(strings.Repeat("copies things ", 20))) || !strings.Contains(file, strings.TrimSpace(strings.Repeat("and more ", 20))) {
		t.Errorf("a file is wrapped:\n%s", file)
	}
	if got, want := strings.Join(strings.Fields(help(columns)), " "), strings.Join(strings.Fields(help(0)), " "); got != want {
		t.Errorf("words differ:\n%s\n%s", got, want)
	}
}
