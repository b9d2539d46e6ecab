// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/transfer"
)

type imagesFlags struct {
	rules    ruleFlags
	sources  selection.Sources
	transfer transfer.Options
	format   output.Format
}

func newImages() *cobra.Command {
	var f imagesFlags
	c := &cobra.Command{
		Use:   "images --registry PREFIX (--set NAME | -f FILE | --chart CHART | --cluster)...",
		Short: "List the images that CAST AI needs",
		Long: `List the images that CAST AI needs, with their targets in the private registry and
the sources that refer to them. Sources can be combined. An image is listed once. The
webhook's own image, which a released command carries, is one of them.

The embedded catalog (--set) contains the images of each installation method, with
the tags of the time of its release: umbrella for castctl and the chart castai, which
CAST AI recommends, phase1 and phase2 for the scripts of the console. Manifests (-f),
Helm charts (--chart) and a live cluster (--cluster) contain the tags that are used.
kvisor's scanners, which no manifest contains, are added to the images of kvisor.

--chart may be repeated. The values of --values and --chart-set apply to all charts.
Components of a chart that its values switch off are reported with the values that
switch them on; a chart without any image is an error.

The output is a table. With -o json or yaml, each image has: source, also (other names of
the same image), target, outcome, reason and rule (as privatelink rewrite), copy (it
has to be copied), carried (a released command has it, and no registry), derived (no source
names it, another image requires it), note, and origins (from, name, line, object).
With -o sources, only the images to copy from registries are printed, one a line. With
-o lock, the tags are resolved at their registries and printed as a lock file for
privatelink mirror and privatelink check.

Exit codes:
  0  all images have a target
  1  a source could not be read, or names no image
  2  invalid usage or configuration
  3  at least one image cannot be mapped; the list is complete`,
		Example: `  # List the images of CAST AI's umbrella chart
  privatelink images --registry "$REGISTRY" --set umbrella

  # List the images of a version of the umbrella chart, and of another chart
  privatelink images --registry "$REGISTRY" --chart castai@0.43.1 --chart castai-live --chart-set tags.full=true \
    --chart-set global.castai.apiKey=x --chart-set global.castai.provider=eks

  # List the images of the onboarding manifest and of the cluster
  curl -fsSL "https://api.cast.ai/v1/agent.yaml?provider=eks" -H "Authorization: Token $CASTAI_API_TOKEN" |
    privatelink images --config privatelink.yaml -f - --cluster -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.rules.add(c.Flags())
	addSourceFlags(c, &f.sources)
	addPlatformFlag(c.Flags(), &f.transfer)
	addRegistryFlags(c.Flags(), &f.transfer)
	output.AddFlag(c.Flags(), &f.format, "a table", "a list", output.JSON, output.YAML, "sources", "lock")
	return c
}

func (f *imagesFlags) run(c *cobra.Command) (err error) {
	if f.transfer.Rules, _, err = f.rules.rules(); err != nil {
		return err
	}
	f.transfer.Reporter = newReporter(c, output.Text)
	attach(c, &f.sources, f.transfer.Reporter)
	images, failures, err := f.sources.Images(c.Context(), f.transfer.Rules)
	if err != nil {
		return err
	}
	unmapped := catalog.ReportUnmapped(c.ErrOrStderr(), images)
	if err := f.print(c.Context(), c, images); err != nil {
		return err
	}
	var result error
	if unmapped > 0 {
		result = exitcode.ActionNeededf("%d images cannot be mapped", unmapped)
	}
	return f.transfer.WithFailures(result, failures)
}

func (f *imagesFlags) print(ctx context.Context, c *cobra.Command, images []catalog.Entry) error {
	switch f.format {
	case output.JSON, output.YAML:
		return output.Write(document(c), f.format, images)
	case "sources":
		return catalog.PrintSources(c.OutOrStdout(), c.ErrOrStderr(), images)
	case "lock":
		return transfer.PrintLock(ctx, f.transfer, f.sources, images, document(c))
	}
	return catalog.PrintTable(c.OutOrStdout(), f.transfer.Rules.Registry(), images)
}
