// SPDX-License-Identifier: Apache-2.0

// Package completion completes the values of flags in the shell.
package completion

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/output"
)

// files are the placeholders of values that name a file or a folder. The shell
// completes these.
var files = []string{"FILE", "LOCK", "CHART", "DIR", "FOLDER"}

// Values returns the possible values of a flag, each optionally followed by a tab and a
// description. Flags that were given before can be read from the command.
type Values func(*cobra.Command) []string

// Fixed returns Values that are always the same.
func Fixed(values ...string) Values { return func(*cobra.Command) []string { return values } }

// Add completes the flags of root and its commands. values has those with a fixed set of
// values by name and placeholder, such as "--engine ENGINE". Other flags offer files only
// if their value is one, and so do arguments.
func Add(root *cobra.Command, values map[string]Values) {
	root.Flags().VisitAll(func(f *pflag.Flag) { addFlag(root, f, values) })
	if root.ValidArgsFunction == nil && root.Args != nil && root.Args(root, []string{"argument"}) != nil {
		root.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range root.Commands() {
		Add(c, values)
	}
}

func addFlag(c *cobra.Command, f *pflag.Flag, values map[string]Values) {
	placeholder, _ := pflag.UnquoteUsage(f)
	complete := cobra.NoFileCompletions
	if v, ok := values["--"+f.Name+" "+placeholder]; ok {
		complete = v.complete(isList(f))
	} else if formats, ok := f.Value.(*output.Flag); ok {
		complete = Fixed(formats.Formats()...).complete(false)
	} else if slices.Contains(files, placeholder) {
		return
	}
	_ = c.RegisterFlagCompletionFunc(f.Name, complete) // an error if the command has its own
}

// isList reports whether a flag takes several values, separated by commas.
func isList(f *pflag.Flag) bool { return f.Value.Type() == "stringSlice" }

func (values Values) complete(list bool) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, toComplete string) (found []string, _ cobra.ShellCompDirective) {
		before := ""
		if list {
			before = toComplete[:strings.LastIndex(toComplete, ",")+1]
		}
		given := strings.Split(before, ",")
		for _, v := range values(c) {
			name, _, _ := strings.Cut(v, "\t")
			if before != "" {
				v = name // with descriptions, bash finds no value that has a comma
			}
			if strings.HasPrefix(before+name, toComplete) && !slices.Contains(given, name) {
				found = append(found, before+v)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
