// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

type rewriteFlags struct {
	rules        ruleFlags
	file, output string
	explain      bool
}

func newRewrite() *cobra.Command {
	var f rewriteFlags
	c := &cobra.Command{
		Use:   "rewrite --registry PREFIX (IMAGE... | -f FILE)",
		Short: "Print the targets of images, or rewrite manifests",
		Long: `Print the targets of images in the private registry, or rewrite manifests.

For each IMAGE, a line with source and target is printed, separated by a tab. The
target of an image that is not rewritten is the image itself.

With -f, the images and the listed environment values in Kubernetes manifests are
rewritten in place. Comments, order and quoting are preserved.

Exit codes:
  0  all images were mapped
  1  the manifests could not be read
  2  invalid usage or configuration
  3  at least one image cannot be mapped and was not rewritten`,
		Example: `  # Print the target of an image
  privatelink rewrite --registry 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai \
    us-docker.pkg.dev/castai-hub/library/agent:v0.161.1

  # Rewrite the onboarding manifest
  curl -fsSL "https://api.cast.ai/v1/agent.yaml?provider=eks" -H "Authorization: Token $CASTAI_API_TOKEN" |
    privatelink rewrite --registry "$REGISTRY" -f - | kubectl apply -f -`,
		RunE: func(c *cobra.Command, images []string) error { return f.run(c, images) },
	}
	f.rules.add(c.Flags())
	c.Flags().StringVarP(&f.file, "filename", "f", "", "manifest `FILE` to rewrite, - for standard input")
	c.Flags().BoolVar(&f.explain, "explain", false, "also print the rule that decided; with -f, list the images on standard error")
	c.Flags().StringVarP(&f.output, "output", "o", "", "`FORMAT`: json for a list with all details of each image")
	_ = c.MarkFlagFilename("filename", "yaml", "yml", "json")
	return c
}

func (f *rewriteFlags) run(c *cobra.Command, images []string) error {
	if err := validateOutput(f.output, "json"); err != nil {
		return err
	}
	if f.file == "" && len(images) == 0 {
		return exitcode.Usagef("name at least one image, or manifests with -f FILE")
	}
	if f.file != "" && len(images) > 0 {
		return exitcode.Usagef("name images, or manifests with -f FILE, but not both")
	}
	rules, _, err := f.rules.rules()
	if err != nil {
		return err
	}
	unmapped := 0
	if f.file != "" {
		unmapped, err = f.rewriteManifests(c, rules)
	} else {
		unmapped, err = f.printTargets(c, rules, images)
	}
	if err == nil && unmapped > 0 {
		err = exitcode.ActionNeededf("%d images cannot be mapped", unmapped)
	}
	return err
}

func (f *rewriteFlags) printTargets(c *cobra.Command, rules *rewrite.Rules, images []string) (unmapped int, err error) {
	var results []rewrite.Result
	for _, image := range images {
		r := rules.Image(image)
		if results = append(results, r); r.Outcome == rewrite.Unmapped || r.Outcome == rewrite.Empty {
			unmapped++
			fmt.Fprintf(c.ErrOrStderr(), "privatelink: %q: %s\n", image, r.Rule)
		}
	}
	if f.output == "json" {
		return unmapped, printJSON(c, results)
	}
	for _, r := range results {
		line := r.Source + "\t" + r.Target
		if f.explain {
			line += "\t" + r.Rule
		}
		if _, err := fmt.Fprintln(c.OutOrStdout(), line); err != nil {
			return unmapped, err
		}
	}
	return unmapped, nil
}

func (f *rewriteFlags) rewriteManifests(c *cobra.Command, rules *rewrite.Rules) (unmapped int, err error) {
	name, text, err := manifest.ReadFile(f.file, c.InOrStdin())
	if err != nil {
		return 0, err
	}
	out, changes, err := manifest.Rewrite(name, text, rules)
	if err != nil {
		return 0, err
	}
	unmapped = manifest.Report(c.ErrOrStderr(), name, changes, f.explain)
	if f.output == "json" {
		return unmapped, printJSON(c, changes)
	}
	_, err = document(c).Write(out)
	return unmapped, err
}
