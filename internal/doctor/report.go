// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/table"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/terminal"
	"github.com/castai/privatelink-webhook/internal/textreport"
)

// Count returns the number of results with a status.
func Count(results []Result, s Status) (count int) {
	for _, r := range results {
		if r.Status == s {
			count++
		}
	}
	return count
}

// Text writes a table with one line for each check, and the reason and the remedy of
// each result that needs attention, the most severe first. Unknown results with the same
// reason are one. The last line says what to do next.
func Text(w io.Writer, header textreport.Header, results []Result) error {
	if err := header.Write(w); err != nil {
		return err
	}
	if err := writeTable(w, results); err != nil {
		return err
	}
	attention := slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Status == OK || r.Status == Skipped || r.Cause != "" })
	slices.SortStableFunc(attention, func(a, b Result) int { return cmp.Compare(severity(b.Status), severity(a.Status)) })
	for _, same := range byReason(attention) {
		writeReason(w, same)
	}
	_, err := fmt.Fprintf(w, "\n%d checks: %d ok, %d failed, %d warnings, %d unknown, %d skipped\n", len(results),
		Count(results, OK), Count(results, Failed), Count(results, Warning), Count(results, Unknown), Count(results, Skipped))
	if err != nil {
		return err
	}
	return writeNext(w, results)
}

// writeNext writes what to do about the most severe results.
func writeNext(w io.Writer, results []Result) error {
	with := func(s Status) string {
		var ids []string
		for _, r := range results {
			if r.Status == s && r.Cause == "" {
				ids = append(ids, r.ID())
			}
		}
		return List(ids, 3)
	}
	switch {
	case Count(results, Failed) > 0:
		return textreport.WriteNext(w, textreport.Faulty, fmt.Sprintf("follow the remedies of %s, and run privatelink doctor again", with(Failed)))
	case Count(results, Unknown) > 0:
		return textreport.WriteNext(w, textreport.Unclear, fmt.Sprintf("follow the remedies of %s, so that these checks can run", with(Unknown)))
	case Count(results, Warning) > 0:
		return textreport.WriteNext(w, textreport.Unclear, fmt.Sprintf("follow the remedies of %s before it fails; nothing is urgent", with(Warning)))
	}
	return textreport.WriteNext(w, textreport.Nothing, "nothing to do, no check failed")
}

// byReason puts unknown results with the same reason and remedy together.
func byReason(results []Result) (groups [][]Result) {
	for _, r := range results {
		i := slices.IndexFunc(groups, func(g []Result) bool {
			return r.Status == Unknown && g[0].Status == Unknown && r.Found == g[0].Found && r.Remedy == g[0].Remedy
		})
		if i < 0 {
			groups = append(groups, []Result{r})
		} else {
			groups[i] = append(groups[i], r)
		}
	}
	return groups
}

// writeReason writes the reason of results that have the same.
func writeReason(w io.Writer, same []Result) {
	var ids []string
	for _, r := range same {
		ids = append(ids, r.ID())
	}
	r := same[0]
	if len(same) > 1 {
		r.What, r.Why = "", ""
	}
	fmt.Fprintln(w)
	_, style := mark(r.Status)
	_ = terminal.WriteStyled(w, style, strings.ToUpper(string(r.Status)))
	fmt.Fprintf(w, "  %s\n", List(ids, 3))
	writeField(w, "expected", r.What)
	writeField(w, "found", r.Found)
	for _, d := range r.Details {
		fmt.Fprintf(w, "            - %s\n", indent(d))
	}
	writeField(w, "why", r.Why)
	writeField(w, "remedy", r.Remedy)
}

func writeTable(w io.Writer, results []Result) error {
	t := table.New(w)
	group := ""
	for _, r := range fold(results) {
		if r.group != group {
			group = r.group
			textreport.AddGroup(t, group)
		}
		found, _, _ := strings.Cut(r.found, "\n") // the whole text is in the section below
		text, style := mark(r.status)
		t.Row(fmt.Sprintf("  %-4s", text), r.names, found)
		t.Style(0, style)
	}
	return t.Flush()
}

func writeField(w io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(w, "  %-9s %s\n", name+":", indent(value))
	}
}

// row is one line of the table.
type row struct {
	group, names, found string
	status              Status
}

// fold puts consecutive checks of a group that are skipped or unknown for the same
// reason on one row.
func fold(results []Result) (rows []row) {
	for i := 0; i < len(results); {
		r, n := results[i], 1
		if r.Status == Skipped || r.Status == Unknown {
			for _, next := range results[i+1:] {
				if next.Group != r.Group || next.Status != r.Status || next.Found != r.Found {
					break
				}
				n++
			}
		}
		names := r.Name
		if n > 1 {
			names = fmt.Sprintf("%s and %d more", r.Name, n-1)
		}
		rows = append(rows, row{r.Group, names, r.Found, r.Status})
		i += n
	}
	return rows
}

func severity(s Status) int { return slices.Index(severities[:], s) }

// mark is the status in the table.
func mark(s Status) (text string, style terminal.Style) {
	switch s {
	case OK:
		return "ok", terminal.Green
	case Warning:
		return "WARN", terminal.Yellow
	case Unknown:
		return "?", terminal.Yellow
	case Failed:
		return "FAIL", terminal.Red
	}
	return "-", terminal.Plain
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n            ") }

// record is a Result for programs.
type record struct {
	ID      string   `json:"id"`
	Status  Status   `json:"status"`
	What    string   `json:"expected"`
	Found   string   `json:"found"`
	Details []string `json:"details,omitempty"`
	Why     string   `json:"why"`
	Remedy  string   `json:"remedy,omitempty"`
	Cause   string   `json:"cause,omitempty"`
	Seconds float64  `json:"seconds"`
}

// Document writes one document in JSON or YAML with the format version, what was checked,
// the results, and the number of results for each status.
func Document(w io.Writer, format output.Format, of target.Target, results []Result) error {
	out := struct {
		Version int            `json:"version"`
		Target  target.Target  `json:"target"`
		Checks  []record       `json:"checks"`
		Counts  map[Status]int `json:"counts"`
	}{Version: 1, Target: of, Checks: []record{}, Counts: map[Status]int{}}
	for _, s := range severities {
		out.Counts[s] = Count(results, s)
	}
	for _, r := range results {
		out.Checks = append(out.Checks, record{r.ID(), r.Status, r.What, r.Found, r.Details, r.Why, r.Remedy, r.Cause, r.Took.Seconds()})
	}
	return output.Write(w, format, out)
}

type (
	junitReport struct {
		XMLName xml.Name      `xml:"testsuites"`
		Suites  []*junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Seconds float64       `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Error   *junitMessage `xml:"error"`
		Skipped *junitMessage `xml:"skipped"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the XML format that CI systems read, with one suite for each
// group. A failed check is a failure and an unknown one an error. A warning
// passes, with its text as output. The target stands in the properties of each
// suite, where the format has a place for it.
func JUnit(w io.Writer, of target.Target, results []Result) error {
	var out junitReport
	for _, r := range results {
		if len(out.Suites) == 0 || out.Suites[len(out.Suites)-1].Name != r.Group {
			out.Suites = append(out.Suites, &junitSuite{Name: r.Group, Properties: junitProperties(of)})
		}
		out.Suites[len(out.Suites)-1].add(r)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// junitProperties are what is known of the target.
func junitProperties(of target.Target) (known []junitProperty) {
	for _, p := range []junitProperty{{"context", of.Context}, {"server", of.Server}, {"cluster", of.Cluster}, {"account", of.Account}, {"region", of.Region}, {"registry", of.Registry}} {
		if p.Value != "" {
			known = append(known, p)
		}
	}
	return known
}

func (s *junitSuite) add(r Result) {
	lines := slices.DeleteFunc(append(slices.Clone(r.Details), r.Why, r.Remedy), func(s string) bool { return s == "" })
	m := &junitMessage{Message: r.Found, Text: strings.Join(lines, "\n")}
	c := junitCase{Class: "privatelink." + r.Group, Name: r.Name, Seconds: r.Took.Seconds()}
	s.Tests++
	switch r.Status {
	case Failed:
		s.Failures++
		c.Failure = m
	case Unknown:
		s.Errors++
		c.Error = m
	case Skipped:
		s.Skipped++
		c.Skipped = m
	case Warning:
		c.Out = m.Message + "\n" + m.Text
	case OK:
		c.Out = r.Found
	}
	s.Cases = append(s.Cases, c)
}
