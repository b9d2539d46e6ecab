// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

type rewriteFlags struct {
	ruleFlags
	file, output string
	explain      bool
}

func newRewrite() *cobra.Command {
	var f rewriteFlags
	c := &cobra.Command{
		Use:   "rewrite --registry PREFIX (IMAGE... | -f FILE)",
		Short: "Say where images live in the private registry, or rewrite manifests",
		Long: `Say where images live in the private registry: one line each, SOURCE and TARGET
with a tab between them. An image that is left alone has itself as its target.

With -f, rewrite the images and listed environment values of Kubernetes manifests
in place and print the result; comments, order and quoting stay.

Images that cannot be mapped are left, told on standard error, and make the exit
code 1.`,
		Example: `  privatelink rewrite --registry 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai \
    us-docker.pkg.dev/castai-hub/library/agent:v0.161.1

  curl -fsSL "https://api.cast.ai/v1/agent.yaml?provider=eks" -H "Authorization: Token $CASTAI_API_TOKEN" |
    privatelink rewrite --registry "$REGISTRY" -f - | kubectl apply -f -`,
		RunE: func(c *cobra.Command, images []string) error { return f.run(c, images) },
	}
	f.add(c.Flags())
	c.Flags().StringVarP(&f.file, "filename", "f", "", "manifest `FILE` to rewrite, - for standard input")
	c.Flags().BoolVar(&f.explain, "explain", false, "add the rule that decided; with -f, list the images on standard error")
	c.Flags().StringVarP(&f.output, "output", "o", "", "`FORMAT`: json for a list with all that is known of each image")
	_ = c.MarkFlagFilename("filename", "yaml", "yml", "json")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return c
}

func (f *rewriteFlags) run(c *cobra.Command, images []string) error {
	switch {
	case f.output != "" && f.output != "json":
		return usageError{fmt.Errorf("--output %q: there is only json", f.output)}
	case f.file == "" && len(images) == 0:
		return usageError{errors.New("name at least one image, or manifests with -f FILE")}
	case f.file != "" && len(images) > 0:
		return usageError{errors.New("name images, or manifests with -f FILE, but not both")}
	}
	rules, _, err := f.rules()
	if err != nil {
		return err
	}
	if f.file != "" {
		return f.manifests(c, rules)
	}
	return f.images(c, rules, images)
}

func (f *rewriteFlags) images(c *cobra.Command, rules *rewrite.Rules, images []string) error {
	results := make([]rewrite.Result, len(images))
	left := 0
	for i, image := range images {
		results[i] = rules.Image(image)
		if results[i].Outcome == rewrite.Unmapped || results[i].Outcome == rewrite.Empty {
			left++
			fmt.Fprintf(c.ErrOrStderr(), "privatelink: %q: %s\n", image, results[i].Rule)
		}
	}
	if err := f.print(c.OutOrStdout(), results); err != nil {
		return err
	}
	return unmapped(left)
}

func (f *rewriteFlags) print(w io.Writer, results []rewrite.Result) error {
	if f.output == "json" {
		return printJSON(w, results)
	}
	for _, r := range results {
		line := r.Source + "\t" + r.Target
		if f.explain {
			line += "\t" + r.Rule
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (f *rewriteFlags) manifests(c *cobra.Command, rules *rewrite.Rules) error {
	name, in := f.file, c.InOrStdin()
	if name == "-" {
		name = "standard input"
	} else {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	out, changes, err := manifest.Rewrite(name, text, rules)
	if err != nil {
		return err
	}
	left := f.report(c.ErrOrStderr(), name, changes)
	if f.output == "json" {
		err = printJSON(c.OutOrStdout(), changes)
	} else {
		_, err = c.OutOrStdout().Write(out)
	}
	if err != nil {
		return err
	}
	return unmapped(left)
}

// report tells what was left, and with --explain everything, and counts what
// stays public although it should not.
func (f *rewriteFlags) report(w io.Writer, name string, changes []manifest.Change) (left int) {
	for _, c := range changes {
		why := c.Obstacle
		if c.Result.Outcome == rewrite.Unmapped && c.Result.Reason != rewrite.NoHost {
			why = c.Result.Rule
		}
		switch {
		case why != "":
			left++
			fmt.Fprintf(w, "privatelink: %s:%d: %s %s: %q: %s\n", name, c.Line, c.Kind, c.Name, c.Result.Source, why)
		case f.explain:
			fmt.Fprintf(w, "%s:%d: %s %s %s: %s -> %s (%s)\n", name, c.Line, c.Kind, c.Name, c.Path, c.Result.Source, c.Result.Target, c.Result.Rule)
		}
	}
	return left
}

func unmapped(n int) error {
	if n > 0 {
		return reported{fmt.Errorf("%d images left", n)}
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
