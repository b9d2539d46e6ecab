// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The pages are made by way of Markdown, in which <FILE> is a tag and *.yaml* a style:
// whatever the library takes for one is lost.
func TestManPagesHaveEveryWordOfTheHelp(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := call(t, nil, "", "man", dir); code != 0 {
		t.Fatal(stderr)
	}
	pages := 0
	for _, c := range commands(newRoot(os.Getenv)) {
		if c.Hidden {
			continue
		}
		pages++
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		text := plain(string(page))
		for word := range strings.FieldsSeq(texts(c)) {
			if !strings.Contains(text, word) {
				t.Errorf("%s lacks %q", c.CommandPath(), word)
			}
		}
	}
	if pages < 15 {
		t.Errorf("only %d pages", pages)
	}
}

// texts returns all texts of a command.
func texts(c *cobra.Command) string {
	all := []string{c.UseLine(), c.Short, c.Long, c.Example}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		_, usage := pflag.UnquoteUsage(f)
		all = append(all, "--"+f.Name, usage)
	})
	return strings.Join(all, "\n")
}

// plain removes the commands of roff from a page.
func plain(page string) string {
	return strings.NewReplacer(`\fB`, "", `\fI`, "", `\fR`, "", `\fP`, "", `\-`, "-", `\&`, "", `\\`, `\`).Replace(page)
}
