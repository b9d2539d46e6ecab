// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/buildinfo"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/output"
)

func newVersion() *cobra.Command {
	var format output.Format
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the date of the catalog",
		Long: `Print the version of this command. With --output, print also the commit of its source,
the day on which the embedded catalog was last compared with CAST AI's charts, the
version of Go and the platform.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			info := buildinfo.Read(version)
			if format == output.Text {
				_, err := fmt.Fprintln(c.OutOrStdout(), "privatelink", info.Version)
				return err
			}
			return output.Write(document(c), format, struct {
				buildinfo.Info
				CatalogDate string `json:"catalogDate"`
			}{info, catalog.Date})
		},
	}
	output.AddFlag(c.Flags(), &format, "one line with the version", "with all details", output.JSON, output.YAML)
	return c
}
