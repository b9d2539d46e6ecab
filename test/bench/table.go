// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *report) writeTable(w io.Writer) error {
	c := r.Conditions
	_, err := fmt.Fprintf(w, "One review of %d bytes, %d in flight, HTTP/1.1 over TLS 1.3; %d rounds of %gs;\n%s, %s/%s, %d CPUs, load generator among them.\n\n",
		c.RequestBytes, c.InFlight, c.Rounds, c.Seconds, c.Go, c.OS, c.Arch, c.CPUs)
	if err != nil {
		return err
	}
	rows := [][]string{{"server", "req/s", "p50 ms", "p99 ms", "CPU µs", "peak MiB"}}
	for _, s := range r.Servers {
		rows = append(rows, []string{
			s.Name, fmt.Sprintf("%.0f", s.PerSecond), fmt.Sprintf("%.2f", s.P50Millis),
			fmt.Sprintf("%.2f", s.P99Millis), fmt.Sprintf("%.1f", s.CPUMicros), fmt.Sprintf("%.1f", s.PeakMiB),
		})
	}
	if err := align(w, rows, "<>>>>>"); err != nil {
		return err
	}
	rows = [][]string{{""}, {"figure", "", "", "budget", ""}}
	for _, b := range r.Budgets {
		rows = append(rows, []string{b.What, fmt.Sprintf("%.2f", round2(b.Value)), b.Unit, b.Budget, b.Verdict})
	}
	return align(w, rows, "<><<<")
}

// align writes rows in columns, each to the left or to the right.
func align(w io.Writer, rows [][]string, sides string) error {
	widths := make([]int, len(sides))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if sides[i] == '>' {
				cell = pad + cell
			} else {
				cell += pad
			}
			line.WriteString(cell + "  ")
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func round2(v float64) float64 { return math.Round(v*100) / 100 }
