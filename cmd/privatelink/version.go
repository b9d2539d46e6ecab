// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/buildinfo"
	"github.com/castai/privatelink-webhook/internal/catalog"
)

func newVersion() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the date of the catalog",
		Long: `Print the version of this command. With --output, print also the commit of its source,
the day on which the embedded catalog was last compared with CAST AI's charts, the
version of Go and the platform.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := validateOutput(output, "json"); err != nil {
				return err
			}
			info := buildinfo.Read(version)
			if output == "" {
				_, err := fmt.Fprintln(c.OutOrStdout(), "privatelink", info.Version)
				return err
			}
			return printJSON(c, struct {
				buildinfo.Info
				CatalogDate string `json:"catalogDate"`
			}{info, catalog.Date})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "output `FORMAT`: json (default: one line with the version)")
	return c
}
