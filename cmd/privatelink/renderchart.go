// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
)

const renderChart = "render-chart"

// newRenderChart returns the command that the program starts to render a chart: a
// process of its own is the only bound on the memory and time of a template.
func newRenderChart() *cobra.Command {
	return &cobra.Command{
		Use: renderChart, Short: "Render a chart that another privatelink process describes", Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return chart.Serve(c.Context(), c.InOrStdin(), c.OutOrStdout(), os.Exit)
		},
	}
}

// cacheFolder is where charts are kept between runs, "" if there is no such folder.
func cacheFolder() string {
	dir, err := os.UserCacheDir() // XDG_CACHE_HOME, or .cache in the home directory
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "privatelink", "charts")
}

// renderCommand returns the command line that runs newRenderChart in this program.
func renderCommand() []string {
	program, _ := os.Executable()
	return []string{cmp.Or(program, os.Args[0]), renderChart}
}
