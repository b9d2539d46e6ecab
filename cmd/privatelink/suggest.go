// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/editdistance"
)

// maxTypos is the number of wrong, missing or additional characters up to which a name
// is suggested.
const maxTypos = 2

// suggestCommands names the commands that an unknown one is similar to.
func suggestCommands(c *cobra.Command, args []string) string {
	if !c.HasSubCommands() || len(args) == 0 {
		return ""
	}
	c.SuggestionsMinimumDistance = maxTypos
	return didYouMean(c.SuggestionsFor(args[0]))
}

// suggestFlags names the flag that the unknown flag of an error is most similar to.
func suggestFlags(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return ""
	}
	name := unknown.GetSpecifiedName()
	if c.Name() == "install" && name == "wait" { // as helm install has it
		return " (install prints the bundle: " + waitHint(c) + ")"
	}
	best, distance := "", maxTypos+1
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if d := editdistance.Of(name, f.Name); d < distance && d < len(name) {
			best, distance = "--"+f.Name, d
		}
	})
	if best == "" {
		return ""
	}
	return didYouMean([]string{best})
}

// waitHint tells how to wait for an installation.
func waitHint(c *cobra.Command) string {
	return "after kubectl apply, wait for the webhook with: " + c.Root().DisplayName() + " doctor --only cluster --wait 5m"
}

func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", strings.Join(names, " or "))
}
