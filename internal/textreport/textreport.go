// SPDX-License-Identifier: Apache-2.0

// Package textreport is the common form of reports for people: a header, groups with a
// title, and a last line that says what to do next. Package htmlreport is that of files.
package textreport

import (
	"fmt"
	"io"
	"strings"

	"github.com/castai/privatelink-webhook/internal/table"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

// Header names the program and what it works on. What is empty is left out.
type Header struct {
	Program string // with its version: "privatelink doctor v0.2.0"
	Target  target.Target
}

// Write writes the header: the program, and a line for each fact that is known.
func (h Header) Write(w io.Writer) error {
	t := table.NewUncut(w)
	if h.Program != "" {
		t.StyledText(terminal.EscapeLine(h.Program), terminal.Bold)
	}
	for _, fact := range h.facts() {
		if fact[1] != "" {
			t.Text(fmt.Sprintf("%-9s %s", fact[0], terminal.EscapeLine(fact[1])))
		}
	}
	return t.Flush()
}

// facts are names and values of the target.
func (h Header) facts() [][2]string {
	var aws []string
	for _, part := range []string{h.Target.Cluster, h.Target.Region, h.account()} {
		if part != "" {
			aws = append(aws, part)
		}
	}
	return [][2]string{{"context", h.Target.Context}, {"server", h.Target.Server}, {"AWS", strings.Join(aws, ", ")}, {"registry", h.Target.Registry}}
}

func (h Header) account() string {
	if h.Target.Account == "" {
		return ""
	}
	return "account " + h.Target.Account
}

// AddGroup adds the title of a group to a table, with an empty line before it.
func AddGroup(t *table.Table, title string) {
	t.Text("")
	t.StyledText(strings.ToUpper(title), terminal.Bold)
}

// WriteGroup writes the title of a group whose rows are not those of a table.
func WriteGroup(w io.Writer, title string) error {
	t := table.NewUncut(w)
	AddGroup(t, title)
	return t.Flush()
}

// Severity is how urgent the next step is.
type Severity int

// The severities.
const (
	Nothing Severity = iota // there is nothing to do
	Unclear                 // a state is not known, or may become a fault
	Faulty                  // something needs action
)

// WriteNext writes the last line of a report: what to do next.
func WriteNext(w io.Writer, s Severity, step string) error {
	if err := terminal.WriteStyled(w, [...]terminal.Style{terminal.Green, terminal.Yellow, terminal.Red}[s], "Next:"); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, " %s\n", terminal.EscapeLine(step))
	return err
}
