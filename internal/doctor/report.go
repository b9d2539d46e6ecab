// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Count is how many results have a status.
func Count(results []Result, s Status) (count int) {
	for _, r := range results {
		if r.Status == s {
			count++
		}
	}
	return count
}

// Text writes a table for people: a line for each check, and below what needs a
// person, with why and what to do.
func Text(w io.Writer, results []Result) error {
	lines := fold(results)
	group, width := "", 0
	for _, l := range lines {
		width = max(width, len(l.names))
	}
	for _, l := range lines {
		if l.group != group {
			if group = l.group; group != results[0].Group {
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w, strings.ToUpper(group))
		}
		fmt.Fprintf(w, "  %-4s  %-*s  %s\n", mark(l.status), width, l.names, brief(l.found))
	}
	told := slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Status == OK || r.Status == Skipped || r.Cause != "" })
	slices.SortStableFunc(told, func(a, b Result) int { return cmp.Compare(severity(b.Status), severity(a.Status)) })
	for _, r := range told {
		fmt.Fprintf(w, "\n%s  %s\n", strings.ToUpper(string(r.Status)), r.ID())
		for _, line := range [][2]string{{"expected", r.What}, {"found", r.Found}, {"why", r.Why}, {"remedy", r.Remedy}} {
			if line[1] != "" {
				fmt.Fprintf(w, "  %-9s %s\n", line[0]+":", indent(line[1]))
			}
			if line[0] == "found" {
				for _, d := range r.Details {
					fmt.Fprintf(w, "            - %s\n", indent(d))
				}
			}
		}
	}
	_, err := fmt.Fprintf(w, "\n%d checks: %d ok, %d failed, %d warnings, %d could not be looked at, %d skipped\n", len(results),
		Count(results, OK), Count(results, Failed), Count(results, Warning), Count(results, Unknown), Count(results, Skipped))
	return err
}

// line is one of the table.
type line struct {
	group, names, found string
	status              Status
}

// fold puts what was not looked at, for one reason, on one line.
func fold(results []Result) (lines []line) {
	for i := 0; i < len(results); {
		r, more := results[i], 0
		if r.Status == Skipped || r.Cause != "" {
			for j := i + 1; j < len(results) && results[j].Group == r.Group && results[j].Status == r.Status && results[j].Found == r.Found; j++ {
				more++
			}
		}
		names := r.Name
		if more > 0 {
			names = fmt.Sprintf("%s and %d more", r.Name, more)
		}
		lines = append(lines, line{r.Group, names, r.Found, r.Status})
		i += more + 1
	}
	return lines
}

func severity(s Status) int { return slices.Index([]Status{OK, Skipped, Warning, Unknown, Failed}, s) }

func mark(s Status) string {
	return map[Status]string{OK: "ok", Skipped: "-", Warning: "WARN", Unknown: "?", Failed: "FAIL"}[s]
}

// brief is what fits on a line of the table; all of it stands below.
func brief(s string) string {
	const most = 100
	s, _, _ = strings.Cut(s, "\n")
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-3]) + "..."
	}
	return s
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n            ") }

// Explain writes what checks look at, and why.
func Explain(w io.Writer, checks []Check) error {
	for _, c := range checks {
		if _, err := fmt.Fprintf(w, "%s\n  %s\n  %s\n", c.ID(), c.What, c.Why); err != nil {
			return err
		}
	}
	return nil
}

// result is a Result for programs.
type result struct {
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

// JSON writes one document: version, the results, and how many have each
// status.
func JSON(w io.Writer, results []Result) error {
	out := struct {
		Version int            `json:"version"`
		Checks  []result       `json:"checks"`
		Counts  map[Status]int `json:"counts"`
	}{Version: 1, Checks: []result{}, Counts: map[Status]int{}}
	for _, s := range []Status{OK, Skipped, Warning, Unknown, Failed} {
		out.Counts[s] = Count(results, s)
	}
	for _, r := range results {
		out.Checks = append(out.Checks, result{r.ID(), r.Status, r.What, r.Found, r.Details, r.Why, r.Remedy, r.Cause, r.Took.Seconds()})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

type (
	suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []*suite `xml:"testsuite"`
	}
	suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	testCase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Seconds float64  `xml:"time,attr"`
		Failure *message `xml:"failure"`
		Error   *message `xml:"error"`
		Skipped *message `xml:"skipped"`
		Out     string   `xml:"system-out,omitempty"`
	}
	message struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the form that CI systems read: a suite for each group. A failed
// check is a failure, one that could not look an error; a warning passes, with
// its text as output.
func JUnit(w io.Writer, results []Result) error {
	var out suites
	for _, r := range results {
		if len(out.Suites) == 0 || out.Suites[len(out.Suites)-1].Name != r.Group {
			out.Suites = append(out.Suites, &suite{Name: r.Group})
		}
		s := out.Suites[len(out.Suites)-1]
		c := testCase{Class: "privatelink." + r.Group, Name: r.Name, Seconds: r.Took.Seconds()}
		m := &message{Message: r.Found, Text: strings.Join(slices.DeleteFunc(append(slices.Clone(r.Details), r.Why, r.Remedy), func(s string) bool { return s == "" }), "\n")}
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
