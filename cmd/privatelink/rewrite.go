// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

type rewriteFlags struct {
	rules   ruleFlags
	files   []string
	format  output.Format
	explain bool
}

func newRewrite() *cobra.Command {
	var f rewriteFlags
	c := &cobra.Command{
		Use:   "rewrite --registry PREFIX (IMAGE... | -f FILE...)",
		Short: "Print the targets of images, or rewrite manifests",
		Long: `Print the targets of images in the private registry, or rewrite manifests.

For each IMAGE, a line with source and target is printed, separated by a tab. The
target of an image that is not rewritten is the image itself.

With -f, Kubernetes manifests are printed with their images and the listed
environment values rewritten. Comments, order and quoting are preserved. -f may be
repeated and may name a folder, whose .json, .yaml and .yml files are read. Images
are those of pods, of workloads with a pod template, and of containers in custom
resources. Manifests are read as kubectl reads them, and nothing is printed if
kubectl would read anything but images differently in the result.

Reported on standard error are images that were not rewritten, and fields that hold
something else than an image. Other values that look like public images, such as
arguments, are counted in a note.

Exit codes:
  0  all images were mapped
  1  the manifests could not be read
  2  invalid usage or configuration
  3  at least one image was not rewritten, or a field holds none; the output is complete`,
		Example: `  # Print the target of an image
  privatelink rewrite --registry 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai \
    us-docker.pkg.dev/castai-hub/library/agent:v0.161.1

  # Rewrite the onboarding manifest
  curl -fsSL "https://api.cast.ai/v1/agent.yaml?provider=eks" -H "Authorization: Token $CASTAI_API_TOKEN" |
    privatelink rewrite --registry "$REGISTRY" -f - | kubectl apply -f -`,
		RunE: func(c *cobra.Command, images []string) error { return f.run(c, images) },
	}
	f.rules.add(c.Flags())
	c.Flags().StringArrayVarP(&f.files, "filename", "f", nil, filenameHelp)
	c.Flags().BoolVar(&f.explain, "explain", false, "also print the rule that decided; with -f, list the images on standard error")
	output.AddFlag(c.Flags(), &f.format, "lines, or the manifests", "a list with all details of each image", output.JSON, output.YAML)
	c.ValidArgsFunction = cobra.NoFileCompletions
	return c
}

func (f *rewriteFlags) run(c *cobra.Command, images []string) error {
	if len(f.files) == 0 && len(images) == 0 {
		return exitcode.Usagef("name at least one image, or manifests with -f FILE")
	}
	if len(f.files) > 0 && len(images) > 0 {
		return exitcode.Usagef("name images, or manifests with -f FILE, but not both")
	}
	rules, _, err := f.rules.rules()
	if err != nil {
		return err
	}
	unmapped := 0
	if len(f.files) > 0 {
		unmapped, err = f.rewriteManifests(c, rules)
	} else {
		unmapped, err = f.printTargets(c, rules, images)
	}
	if err == nil && unmapped > 0 {
		err = exitcode.ActionNeededf("%d images were not rewritten", unmapped)
	}
	return err
}

func (f *rewriteFlags) printTargets(c *cobra.Command, rules *rewrite.Rules, images []string) (unmapped int, err error) {
	results := []rewrite.Result{}
	for _, image := range images {
		r := rules.Image(image)
		if results = append(results, r); r.Outcome == rewrite.Unmapped || r.Outcome == rewrite.Empty {
			unmapped++
			fmt.Fprintf(c.ErrOrStderr(), "privatelink: %q: %s\n", image, r.Rule)
		}
	}
	if f.format != output.Text {
		return unmapped, output.Write(document(c), f.format, results)
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

// rewriteManifests prints nothing but errors unless all files can be rewritten.
func (f *rewriteFlags) rewriteManifests(c *cobra.Command, rules *rewrite.Rules) (unmapped int, err error) {
	inputs, err := manifest.ReadFiles(f.files, c.InOrStdin())
	if errors.Is(err, manifest.ErrStdinTwice) {
		return 0, exitcode.AsUsage(err)
	}
	if err != nil {
		return 0, fmt.Errorf("-f: %w", err)
	}
	var texts [][]byte
	founds := make([]manifest.Found, len(inputs))
	changes := []manifest.Change{}
	for i, input := range inputs {
		if len(inputs) == 1 && f.files[0] == "-" && len(bytes.TrimSpace(input.Text)) == 0 {
			return 0, fmt.Errorf("-f -: %s is empty: check the command that writes it", input.Name)
		}
		text, found, err := manifest.Rewrite(input.Name, input.Text, rules)
		if err != nil {
			return 0, err
		}
		texts, founds[i], changes = append(texts, text), found, append(changes, found.Changes...)
	}
	for i, found := range founds {
		unmapped += manifest.Report(c.ErrOrStderr(), inputs[i].Name, found, f.explain)
	}
	if f.format != output.Text {
		return unmapped, output.Write(document(c), f.format, changes)
	}
	joined, err := manifest.Join(texts)
	if err != nil {
		return 0, fmt.Errorf("-f: %w", err)
	}
	_, err = document(c).Write(joined)
	return unmapped, err
}
