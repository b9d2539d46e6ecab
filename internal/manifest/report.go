// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"io"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

// Problem returns why the text still has a public image, or holds no image where one
// belongs; "" if there is no problem.
func (c Change) Problem() string {
	switch {
	case c.Result.Outcome != rewrite.Unmapped:
		return c.Obstacle
	case strings.Contains(c.Result.Source, "{{"):
		return c.Result.Rule + ": " + renderFirst
	}
	return c.Result.Rule
}

// Report writes a line for each change with a problem, with verbose also for the
// others, and notes: that there is no workload, and which other values look like
// public images. It returns the number of problems. name stands for the text.
func Report(w io.Writer, name string, found Found, verbose bool) (problems int) {
	for _, c := range found.Changes {
		object := terminal.EscapeLine(strings.TrimSpace(c.Kind + " " + c.Name))
		if problem := c.Problem(); problem != "" {
			problems++
			fmt.Fprintf(w, "privatelink: %s:%d: %s: %q: %s\n", name, c.Line, object, c.Result.Source, problem)
		} else if verbose {
			fmt.Fprintf(w, "%s:%d: %s %s: %s -> %s (%s)\n", name, c.Line, object, terminal.EscapeLine(c.Path), terminal.EscapeLine(c.Result.Source), c.Result.Target, c.Result.Rule)
		}
	}
	if found.Workloads == 0 {
		fmt.Fprintf(w, "privatelink: %s: no pod and no object with a pod template in it\n", name)
	}
	if note := found.NoteOthers(); note != "" {
		fmt.Fprintf(w, "privatelink: %s: %s\n", name, note)
	}
	return problems
}

// maxNamed is how many of the other values a note names.
const maxNamed = 3

// NoteOthers counts the values that look like public images and names the first of
// them; "" if there are none.
func (f Found) NoteOthers() string {
	if len(f.Others) == 0 {
		return ""
	}
	var named []string
	for _, o := range f.Others[:min(len(f.Others), maxNamed)] {
		named = append(named, terminal.EscapeLine(fmt.Sprintf("%s %s %s", strings.TrimSpace(o.Kind+" "+o.Name), o.Path, o.Image)))
	}
	if len(f.Others) > maxNamed {
		named = append(named, "…")
	}
	what := "other values look like public images"
	if len(f.Others) == 1 {
		what = "other value looks like a public image"
	}
	return fmt.Sprintf("%d %s: %s: list environment variables in envVars, and change other values by hand", len(f.Others), what, strings.Join(named, ", "))
}
