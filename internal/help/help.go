// SPDX-License-Identifier: Apache-2.0

// Package help fits the help of commands into a terminal.
package help

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// minColumns are those of the narrowest terminal that text is fitted into.
const minColumns = 40

// Fit wraps the flags and the texts of root and its commands at a number of columns.
// Examples stay as they are, because a command is copied as one line. With less than 40
// columns, such as 0 for a file, nothing is wrapped.
func Fit(root *cobra.Command, columns int) {
	if columns < minColumns {
		return
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", columns)))
	fitLong(root, columns)
}

func fitLong(c *cobra.Command, columns int) {
	c.Long = wrap(c.Long, columns)
	for _, sub := range c.Commands() {
		fitLong(sub, columns)
	}
}

// item is a line of a list: its number or name, and its text.
var item = regexp.MustCompile(`^  \S+(?: {2,})`)

// wrap fills the paragraphs of a text, and the items of its lists, if a line of it is
// longer than a number of columns.
func wrap(text string, columns int) string {
	var out, paragraph []string
	tooLong, hanging := false, 0
	flush := func() {
		if len(paragraph) > 0 && !tooLong {
			out = append(out, paragraph...)
		} else if len(paragraph) > 0 {
			out = append(out, fill(paragraph, hanging, columns)...)
		}
		paragraph, tooLong, hanging = nil, false, 0
	}
	for line := range strings.SplitSeq(text, "\n") {
		start := item.FindString(line)
		isContinued := hanging > 0 && strings.HasPrefix(line, strings.Repeat(" ", hanging)) || hanging == 0 && !strings.HasPrefix(line, " ")
		if line == "" || start != "" || !isContinued {
			flush()
		}
		if line == "" || start == "" && strings.HasPrefix(line, " ") && !isContinued {
			out = append(out, line)
			continue
		}
		if start != "" {
			hanging = len(start)
		}
		paragraph = append(paragraph, line)
		tooLong = tooLong || len(line) > columns
	}
	flush()
	return strings.Join(out, "\n")
}

// fill returns lines of at most a number of columns with the words of others. All but
// the first are indented.
func fill(lines []string, indent, columns int) (filled []string) {
	line := lines[0][:indent]
	words := strings.Fields(lines[0][indent:])
	for _, l := range lines[1:] {
		words = append(words, strings.Fields(l)...)
	}
	for i, word := range words {
		if i > 0 && len(line)+1+len(word) > columns {
			filled, line = append(filled, line), strings.Repeat(" ", indent)+word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	return append(filled, line)
}
