// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	tables "github.com/castai/privatelink-webhook/internal/table"
)

// PrintTable writes a line for each image. The registry is printed once, in the
// first line, and abbreviated below.
func PrintTable(w io.Writer, registry string, images []Entry) error {
	t := tables.New(w)
	t.Text("# .../ is " + registry + "/")
	t.Row("SOURCE", "TARGET", "WHY")
	for _, i := range images {
		source, target := i.Source, i.Target
		switch i.Outcome {
		case rewrite.Private:
			source = "-"
		case rewrite.Unmapped, rewrite.Kept:
			target = "-"
		}
		if below, ok := strings.CutPrefix(target, registry+"/"); ok {
			target = ".../" + below
		}
		t.Row(source, target, why(i))
	}
	return t.Flush()
}

// why summarizes why an image is in the list.
func why(i Entry) string {
	text := i.Origins[0].String()
	if i.Derived {
		text = "derived from " + path.Base(i.Origins[0].Name)
	}
	if n := len(i.Origins) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	note := i.Note
	if i.Unmapped() {
		note = i.Rule
	}
	if note != "" {
		text = note + " (" + text + ")"
	}
	return text
}

// PrintSources writes the sources of the images to copy to w, for scripts, and to
// log why others are not listed.
func PrintSources(w, log io.Writer, images []Entry) error {
	for _, i := range images {
		if i.Carried {
			fmt.Fprintf(log, "privatelink: %s: not listed: a released privatelink carries it, and no registry has it\n", i.Source)
		} else if i.Copy {
			if _, err := fmt.Fprintln(w, i.Source); err != nil {
				return err
			}
		} else if i.Outcome == rewrite.Rewritten {
			fmt.Fprintf(log, "privatelink: %s: not listed: %s\n", i.Source, i.Note)
		}
	}
	return nil
}

// ReportUnmapped writes a line for each image that no rule maps, and returns their
// number.
func ReportUnmapped(w io.Writer, images []Entry) (count int) {
	for _, i := range images {
		if i.Unmapped() {
			count++
			fmt.Fprintf(w, "privatelink: %q: %s (%s)\n", i.Source, i.Rule, i.Origins[0])
		}
	}
	return count
}
