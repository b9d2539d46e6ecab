// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/buildinfo"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/manpage"
)

// newMan returns the command that writes the man pages of a release.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the man pages to a folder", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			built := buildinfo.Read(version)
			date := built.Time
			if date.IsZero() { // two runs are equal, whatever day it is
				var err error
				if date, err = time.Parse(time.DateOnly, catalog.Date); err != nil {
					return err
				}
			}
			return manpage.Write(c.Root(), built.Version, date, args[0])
		},
	}
}
