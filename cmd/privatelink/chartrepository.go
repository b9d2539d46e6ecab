// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/chartrepo"
	"github.com/castai/privatelink-webhook/internal/output"
)

func newChartRepository() *cobra.Command {
	var (
		o     chartrepo.Options
		rules ruleFlags
	)
	c := &cobra.Command{
		Use:   "chart-repository DIR",
		Short: "Write a chart repository to a folder, for a web server",
		Long: `Write a chart repository to a folder: index.yaml, and the archives of the newest
versions of charts. Any web server can serve the folder to what fetches charts by HTTP
and not from a registry, such as CAST AI's operator, with its helmRepoURL.

The charts are those under track in the configuration, or else those of the sets.
Archives are compared with the digests in the repository's index, and copied unchanged.

The folder keeps its other versions. The same versions give the same index, which is
replaced as a whole, after the archives. A version whose archive was replaced in the
repository is refused, and does not stop the others.

Exit codes:
  0  the folder has the newest versions
  1  at least one version could not be added, or the repository could not be read
  2  invalid usage or configuration`,
		Example: `  # Write the newest versions of CAST AI's umbrella chart
  privatelink chart-repository --config privatelink.yaml charts`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.Rules, _, err = rules.rules(); err != nil {
				return err
			}
			o.Folder, o.Out, o.Warnf = args[0], c.OutOrStdout(), newReporter(c, output.Text).Warnf
			o.Charts.Command, o.Cache.Dir = renderCommand(), cacheFolder()
			return chartrepo.Run(c.Context(), o)
		},
	}
	rules.add(c.Flags())
	c.Flags().StringSliceVar(&o.Sets, "set", nil, "`NAME` of a set of the embedded catalog whose charts are written, unless the configuration names charts: "+strings.Join(catalog.Sets(), ", ")+"; may be repeated")
	return c
}
