// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"path"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// imageOutputs are the formats of the command images, "" for the table.
var imageOutputs = map[string]func(*cobra.Command, *transferFlags, *rewrite.Rules, []catalog.Entry) error{
	"": func(c *cobra.Command, _ *transferFlags, r *rewrite.Rules, i []catalog.Entry) error {
		return printTable(c.OutOrStdout(), r.Registry(), i)
	},
	"json": func(c *cobra.Command, _ *transferFlags, _ *rewrite.Rules, i []catalog.Entry) error {
		return printJSON(c.OutOrStdout(), i)
	},
	"sources": func(c *cobra.Command, _ *transferFlags, _ *rewrite.Rules, i []catalog.Entry) error {
		return printSources(c, i)
	},
	"lock": printLock,
}

// printLock asks the source registries what the tags stand for now.
func printLock(c *cobra.Command, f *transferFlags, rules *rewrite.Rules, images []catalog.Entry) error {
	m, _, err := f.mirror(c, rules)
	if err != nil {
		return err
	}
	content, err := m.ReadContent(c.Context(), copies(c, images), rules.Registry(), nil)
	if err != nil {
		return err
	}
	text, err := content.Lock.Marshal()
	if err != nil {
		return err
	}
	_, err = c.OutOrStdout().Write(text)
	return err
}

func newImages() *cobra.Command {
	var (
		rules    ruleFlags
		images   imageFlags
		transfer transferFlags
		output   string
	)
	c := &cobra.Command{
		Use:   "images --registry PREFIX (--set NAME | -f FILE | --chart CHART | --cluster)...",
		Short: "List the images that CAST AI needs",
		Long: `List the images that CAST AI needs: where each comes from, where it belongs in the
private registry, and who asks for it. Sources can be combined; an image that
several of them name is listed once.

The embedded catalog (--set) knows the images of each way to install, with the
tags of the time when it was written. Manifests (-f), a Helm chart (--chart) and a
live cluster (--cluster) tell the tags that are really used. Two images that no
manifest names, kvisor's scanners and the JMX exporter, are added to the images
that will ask for them.

The output is a table. -o json has for each image: source, also (other names of the
same image), target, outcome, reason and rule (as privatelink rewrite), copy (it is
to be copied), derived (nothing names it, a rule says it is needed), note, and
origins (from, name, line, object). -o sources has only the images to copy, one a
line. -o lock asks the registries what the tags stand for now, and prints a lock
file for privatelink mirror and privatelink check.

Images that cannot be mapped are listed, told on standard error, and make the exit
code 1.`,
		Example: `  privatelink images --registry "$REGISTRY" --set phase1,phase2
  curl -fsSL "https://api.cast.ai/v1/agent.yaml?provider=eks" -H "Authorization: Token $CASTAI_API_TOKEN" |
    privatelink images --config privatelink.yaml -f - --cluster -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			show, ok := imageOutputs[output]
			if !ok {
				return usageError{fmt.Errorf("--output %q: use json, sources or lock", output)}
			}
			r, _, err := rules.rules()
			if err != nil {
				return err
			}
			list, err := images.list(c, r)
			if err != nil {
				return err
			}
			left := reportUnmapped(c.ErrOrStderr(), list)
			if err := show(c, &transfer, r, list); err != nil {
				return err
			}
			return unmapped(left)
		},
	}
	rules.add(c.Flags())
	images.add(c.Flags())
	transfer.addSource(c.Flags())
	c.Flags().StringVarP(&output, "output", "o", "", "`FORMAT`: json, sources or lock (default: a table)")
	_ = c.RegisterFlagCompletionFunc("set", cobra.FixedCompletions(catalog.Sets(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "sources", "lock"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("filename", "yaml", "yml", "json")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return c
}

// reportUnmapped tells what no rule maps, and counts it.
func reportUnmapped(w io.Writer, images []catalog.Entry) (left int) {
	for _, i := range images {
		if i.Unmapped() {
			left++
			fmt.Fprintf(w, "privatelink: %q: %s (%s)\n", i.Source, i.Rule, i.Origins[0])
		}
	}
	return left
}

// printSources prints what is to be copied, for scripts. What needs a person is
// told on standard error.
func printSources(c *cobra.Command, images []catalog.Entry) error {
	for _, i := range images {
		if i.Copy {
			if _, err := fmt.Fprintln(c.OutOrStdout(), i.Source); err != nil {
				return err
			}
		} else if i.Outcome == rewrite.Rewritten {
			fmt.Fprintf(c.ErrOrStderr(), "privatelink: %s: not listed: %s\n", i.Source, i.Note)
		}
	}
	return nil
}

// printTable prints a line for each image. The registry stands once above it,
// for lines to fit a screen.
func printTable(w io.Writer, registry string, images []catalog.Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "# .../ is %s/\nSOURCE\tTARGET\tWHY\n", registry)
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
		fmt.Fprintf(table, "%s\t%s\t%s\n", source, target, why(i))
	}
	return table.Flush()
}

// maxWhy is what fits on a line behind two references.
const maxWhy = 80

// why says in short why an image is in the list.
func why(i catalog.Entry) string {
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
	if runes := []rune(text); len(runes) > maxWhy {
		text = string(runes[:maxWhy-3]) + "..."
	}
	return text
}
