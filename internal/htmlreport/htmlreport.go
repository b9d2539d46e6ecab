// SPDX-License-Identifier: Apache-2.0

// Package htmlreport writes the report of a command as one HTML file, for people who do
// not run the command: a change board, support, an auditor.
//
// The file needs no network and runs no script. All text is data: html/template escapes
// markup, and characters that do not print are shown as codes. Colors repeat what words
// say, and the picture is repeated by a table.
package htmlreport

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

// State is the state of a check, of an object or of a part of the picture.
type State string

// The states.
const (
	OK         State = "ok"
	Warning    State = "warning"
	Failed     State = "failed"
	Unknown    State = "unknown"
	NotChecked State = "not checked"
)

// Class returns the state as a class of the style sheet, and Failed for a value that is
// none.
func (s State) Class() string {
	switch s {
	case OK, Warning, Unknown:
		return string(s)
	case NotChecked:
		return "skipped"
	}
	return string(Failed)
}

// Report is the content of the file.
type Report struct {
	Title string
	// Facts say what was examined, when, and by which version.
	Facts []Fact
	// State and Summary are the result in one line.
	State   State
	Summary string
	// Counts are the numbers of entries by state.
	Counts []Count
	// Picture is optional.
	Picture *Picture
	// Attention is the heading above the entries that need action, and Calm the text if
	// there are none.
	Attention, Calm string
	// Groups have all entries. Those with a remedy or details are shown in full, the
	// others as a line of a table.
	Groups []Group
}

// Fact is a line of the header.
type Fact struct{ Name, Value string }

// TargetFacts returns the fields of a target. Those that are not known say so.
func TargetFacts(t target.Target) (facts []Fact) {
	for _, f := range []Fact{{"cluster", t.Cluster}, {"registry", t.Registry}, {"account", t.Account}, {"region", t.Region}, {"API server", t.Server}, {"context", t.Context}} {
		f.Value = cmp.Or(f.Value, "not known")
		facts = append(facts, f)
	}
	return facts
}

// RunFacts returns the command that examined the target, and when.
func RunFacts(command string, at time.Time) []Fact {
	return []Fact{{"command", command}, {"time", at.UTC().Format("2006-01-02 15:04 UTC")}}
}

// Count is a number of entries.
type Count struct {
	State State
	N     int
}

// Group is a group of entries with a heading.
type Group struct {
	Name    string
	Entries []Entry
}

// Entry is a check, an image or an object.
type Entry struct {
	// Number identifies the entry in the report and in the picture.
	Number int
	Name   string
	State  State
	// Found is the observed state. The other texts are optional.
	Found, Expected, Why, Remedy string
	Details                      []string
	// NeedsAction is set if the entry is shown above the table as well.
	NeedsAction bool
	// Parts are the elements of the picture that the entry concerns.
	Parts []Reference
}

// Reference is a link to a numbered entry or element.
type Reference struct {
	Number int
	Name   string
}

// NeedAction returns the entries that need action, the failed ones first.
func (r Report) NeedAction() (entries []Entry) {
	for _, s := range []State{Failed, Unknown, Warning} {
		for _, g := range r.Groups {
			for _, e := range g.Entries {
				if e.NeedsAction && e.State == s {
					entries = append(entries, e)
				}
			}
		}
	}
	return entries
}

var (
	//go:embed report.html
	page string
	//go:embed picture.svg
	picture string
	//go:embed style.css
	style string
)

// Write writes the report.
func Write(w io.Writer, r Report) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(style) }, // part of the program
		"lines": func(s string) []string { return strings.Split(s, "\n") },
	}).Parse(page)
	if err == nil {
		_, err = t.New("picture").Parse(picture)
	}
	if err != nil {
		return fmt.Errorf("the template of the report: %w", err)
	}
	var document bytes.Buffer
	if err := t.Execute(&document, r); err != nil {
		return fmt.Errorf("rendering the report: %w", err)
	}
	_, err = io.WriteString(w, terminal.Escape(document.String()))
	return err
}
