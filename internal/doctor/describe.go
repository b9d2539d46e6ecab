// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"

	"github.com/castai/privatelink-webhook/internal/output"
)

// description is a Check for programs.
type description struct {
	ID   string `json:"id"`
	What string `json:"expected"`
	Why  string `json:"why"`
}

// Describe writes the ID, the expectation and the reason of the selected checks.
func Describe(w io.Writer, format output.Format, checks []Check, o Options) error {
	selected, err := selectChecks(checks, o)
	if err != nil {
		return err
	}
	if format != output.Text {
		descriptions := []description{}
		for _, c := range selected {
			descriptions = append(descriptions, description{c.ID(), c.What, c.Why})
		}
		return output.Write(w, format, descriptions)
	}
	for _, c := range selected {
		if _, err := fmt.Fprintf(w, "%s\n  %s\n  %s\n", c.ID(), c.What, c.Why); err != nil {
			return err
		}
	}
	return nil
}
