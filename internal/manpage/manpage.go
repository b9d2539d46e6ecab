// SPDX-License-Identifier: Apache-2.0

// Package manpage writes the man pages of a program from the help of its commands.
package manpage

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Write writes a page for each command below root into the folder, which it makes.
// The date is that of all pages, so that two builds of the same source are equal.
// It changes the texts of the commands.
func Write(root *cobra.Command, version string, date time.Time, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	prepare(root)
	return doc.GenManTree(root, &doc.GenManHeader{
		Section: "1", Date: &date, Source: root.Name() + " " + version, Manual: "Manual of " + root.Name(),
	}, dir)
}

func prepare(c *cobra.Command) {
	c.DisableAutoGenTag = true // it has the day of the build
	c.Long = keepLists(cmp.Or(c.Long, c.Short) + list(c))
	for _, sub := range c.Commands() {
		prepare(sub)
	}
}

// list lists the commands of c, of which the library names the pages only.
func list(c *cobra.Command) string {
	if !c.HasAvailableSubCommands() {
		return ""
	}
	var text strings.Builder
	text.WriteString("\n\nCommands:")
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			text.WriteString(fmt.Sprintf("\n  %-*s  %s", sub.NamePadding(), sub.Name(), sub.Short))
		}
	}
	return text.String()
}

var lists = regexp.MustCompile(`(?m)(?:^  .*\n?)+`)

// keepLists indents lists, such as that of the exit codes: in Markdown, from which
// the library makes the pages, they would become one paragraph.
func keepLists(help string) string {
	return lists.ReplaceAllStringFunc(help, func(lines string) string {
		lines = strings.TrimSuffix(lines, "\n")
		return "\n  " + strings.ReplaceAll(lines, "\n", "\n  ") + "\n"
	})
}
