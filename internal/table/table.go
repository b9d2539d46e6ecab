// SPDX-License-Identifier: Apache-2.0

// Package table aligns columns. On a terminal, a row is one line: cells that are too
// wide are cut. A file or a pipe gets the whole text.
package table

import (
	"io"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/castai/privatelink-webhook/internal/terminal"
)

const (
	gap      = 2
	minWidth = 8 // of a column that is cut
	ellipsis = "…"
)

// Table collects rows and writes them with Flush.
type Table struct {
	out   io.Writer
	limit int // of columns of a line; 0 for none
	lines []line
}

// line is a row, or text that is not aligned.
type line struct {
	cells []cell
	text  string
	style terminal.Style // of the text
}

type cell struct {
	text  string
	style terminal.Style
}

// New returns a table for out.
func New(out io.Writer) *Table { return &Table{out: out, limit: terminal.Width(out)} }

// NewUncut returns a table whose cells are never cut, for messages that must be read whole.
func NewUncut(out io.Writer) *Table { return &Table{out: out} }

// Row adds a row. The last cell of a row that has fewer cells than others may extend
// over the columns that it lacks.
func (t *Table) Row(cells ...string) {
	row := make([]cell, len(cells))
	for i, text := range cells {
		row[i].text = strings.ReplaceAll(terminal.EscapeLine(text), "\t", `\t`)
	}
	t.lines = append(t.lines, line{cells: row})
}

// Style sets the style of a cell of the last row.
func (t *Table) Style(column int, style terminal.Style) {
	t.lines[len(t.lines)-1].cells[column].style = style
}

// Text adds a line that is neither aligned nor cut.
func (t *Table) Text(text string) { t.StyledText(text, terminal.Plain) }

// StyledText is Text in a style.
func (t *Table) StyledText(text string, style terminal.Style) {
	t.lines = append(t.lines, line{text: text, style: style})
}

// Flush writes the rows.
func (t *Table) Flush() error {
	widths := t.widths()
	for _, l := range t.lines {
		if err := t.write(l, widths); err != nil {
			return err
		}
	}
	t.lines = nil
	return nil
}

func (t *Table) write(l line, widths []int) error {
	room := t.limit
	for i, c := range l.cells {
		text, padding := c.text, 0
		if last := i == len(l.cells)-1; !last {
			text = cut(text, widths[i])
			padding = widths[i] - runewidth.StringWidth(text) + gap
			room -= widths[i] + gap
		} else if t.limit > 0 {
			text = cut(text, max(room, minWidth))
		}
		if err := terminal.WriteStyled(t.out, c.style, text); err != nil {
			return err
		}
		if _, err := io.WriteString(t.out, strings.Repeat(" ", padding)); err != nil {
			return err
		}
	}
	if err := terminal.WriteStyled(t.out, l.style, l.text); err != nil {
		return err
	}
	_, err := io.WriteString(t.out, "\n")
	return err
}

// widths returns the widths of the columns, reduced to the limit.
func (t *Table) widths() (widths []int) {
	for _, l := range t.lines {
		for len(widths) < len(l.cells) {
			widths = append(widths, 0)
		}
	}
	for _, l := range t.lines {
		for i, c := range l.cells {
			if i < len(l.cells)-1 || i == len(widths)-1 {
				widths[i] = max(widths[i], runewidth.StringWidth(c.text))
			}
		}
	}
	if t.limit > 0 {
		reduce(widths, t.limit-gap*(len(widths)-1))
	}
	return widths
}

// reduce makes the widest columns narrower, until all fit into a width or are as narrow
// as a column may get.
func reduce(widths []int, limit int) {
	for {
		sum, widest := 0, 0
		for i, w := range widths {
			sum += w
			if w > widths[widest] {
				widest = i
			}
		}
		if sum <= limit || widths[widest] <= minWidth {
			return
		}
		widths[widest]--
	}
}

// cut returns text of at most a width. A name loses its middle, because both ends tell
// names apart; a sentence loses its end.
func cut(text string, width int) string {
	if runewidth.StringWidth(text) <= width {
		return text
	}
	if strings.Contains(text, " ") {
		return runewidth.Truncate(text, width, ellipsis)
	}
	tail := (width - 1) / 2
	return runewidth.Truncate(text, width-tail, ellipsis) + runewidth.TruncateLeft(text, runewidth.StringWidth(text)-tail, "")
}
