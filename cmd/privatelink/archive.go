// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/transfer"
)

func newExport() *cobra.Command {
	var (
		o      transfer.ExportOptions
		rules  ruleFlags
		format output.Format
	)
	c := &cobra.Command{
		Use:   "export --to FILE",
		Short: "Export images to an archive for an air-gapped environment",
		Long: `Export images to an archive, an OCI image layout in a tar file. In the air-gapped
environment, privatelink import copies them to the private registry.

Images are selected as for privatelink mirror. Each layer is stored once. FILE.sha256
contains the digest for sha256sum -c. If an export is interrupted, start it again: it
resumes from FILE.partial. Images that cannot be read are left out and reported.

--split writes several files, FILE.000 and so on, for size-limited media. --since
excludes layers of the images in an older lock file; the import verifies that the
private registry has them.

Exit codes:
  0  the archive is complete
  1  at least one image could not be read and is not in the archive, a source names no
     image, or the archive could not be written
  2  invalid usage or configuration`,
		Example: `  # Export the images of CAST AI's umbrella chart
  privatelink export --config privatelink.yaml --set umbrella --to castai.tar

  # Split the archive for a FAT32 medium
  privatelink export --config privatelink.yaml --to castai.tar --split 4095M

  # Export only layers that were not part of the last export
  privatelink export --config privatelink.yaml --chart castai@0.43.1 --values values.yaml --to castai-delta.tar --since last.lock.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := prepare(c, rules, format, &o.Options, &o.Sources, &o.Lock); err != nil {
				return err
			}
			return transfer.Export(c.Context(), o)
		},
	}
	rules.add(c.Flags())
	addSourceFlags(c, &o.Sources)
	addChartsFlag(c.Flags(), &o.Sources)
	addLockFlags(c.Flags(), &o.Lock)
	addPlatformFlag(c.Flags(), &o.Options)
	addRegistryFlags(c.Flags(), &o.Options)
	c.Flags().StringVar(&o.File, "to", "", "archive `FILE` to write")
	c.Flags().StringVar(&o.Split, "split", "", "maximum `SIZE` of one file, such as 4G; 4095M for FAT32")
	c.Flags().StringVar(&o.Since, "since", "", "lock `FILE` of the images that the private registry has already")
	addEventsFlag(c, &format)
	return c
}

func newImport() *cobra.Command {
	var (
		o      transfer.ImportOptions
		rules  ruleFlags
		format output.Format
	)
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Import images from an archive into the private registry",
		Long: `Import images into the private registry, from an archive that privatelink export wrote.
No other registry is contacted. The digests are written to the lock file, for privatelink
check.

Of a split archive, name any part or the whole; all parts must be in one folder. All
content is verified by its digest, and an image is tagged only after all of it is
present. If an import is interrupted, start it again: it resumes where it stopped.

If the archive was made for another registry, the targets follow the configuration. An
archive for this registry is refused if its targets differ from the configuration.

Exit codes:
  0  all images are in the private registry
  1  at least one image could not be copied or is not in the archive, or the archive is
     damaged
  2  invalid usage or configuration
  3  (--dry-run) at least one image is missing, incomplete or different`,
		Example: `  # Show what would be copied
  privatelink import --config privatelink.yaml castai.tar --dry-run

  # Copy the images
  privatelink import --config privatelink.yaml castai.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			o.File = args[0]
			o.Reporter = newReporter(c, format)
			if o.Rules, _, err = rules.rules(); err != nil {
				return err
			}
			return transfer.Import(c.Context(), o)
		},
	}
	rules.add(c.Flags())
	addRegistryFlags(c.Flags(), &o.Options)
	addPushFlags(c.Flags(), &o.Options)
	addEventsFlag(c, &format)
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "show what would be copied, and exit with 3 if there is anything")
	c.Flags().BoolVar(&o.Verify, "verify", false, "verify all digests of the archive before anything is copied")
	c.Flags().StringVar(&o.LockFile, "lock", lock.DefaultFile, lockHelp)
	return c
}
