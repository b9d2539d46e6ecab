// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"io"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Problem returns why the text still has a public image, or "" if it has none. A
// value of an environment variable without a registry host is not an image.
func (c Change) Problem() string {
	if c.Result.Outcome == rewrite.Unmapped && c.Result.Reason != rewrite.NoHost {
		return c.Result.Rule
	}
	return c.Obstacle
}

// Report writes a line for each change with a problem, with verbose also for the
// others, and returns the number of problems. name stands for the text.
func Report(w io.Writer, name string, changes []Change, verbose bool) (problems int) {
	for _, c := range changes {
		if problem := c.Problem(); problem != "" {
			problems++
			fmt.Fprintf(w, "privatelink: %s:%d: %s %s: %q: %s\n", name, c.Line, c.Kind, c.Name, c.Result.Source, problem)
		} else if verbose {
			fmt.Fprintf(w, "%s:%d: %s %s %s: %s -> %s (%s)\n", name, c.Line, c.Kind, c.Name, c.Path, c.Result.Source, c.Result.Target, c.Result.Rule)
		}
	}
	return problems
}
