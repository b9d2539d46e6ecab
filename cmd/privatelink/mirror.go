// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/transfer"
)

// copyFlags are the flags of mirror and check.
type copyFlags struct {
	transfer.CopyOptions
	rules  ruleFlags
	format output.Format
}

func (f *copyFlags) add(c *cobra.Command, formats ...output.Format) {
	f.rules.add(c.Flags())
	addSourceFlags(c, &f.Sources)
	addChartsFlag(c.Flags(), &f.Sources)
	addLockFlags(c.Flags(), &f.Lock)
	addPlatformFlag(c.Flags(), &f.Options)
	addRegistryFlags(c.Flags(), &f.Options)
	c.Flags().BoolVar(&f.Sources.Missing, "missing", false, "select the images that pods of the configured namespaces wait for, and no others. The lock file keeps its other images")
	addEventsFlag(c, &f.format, formats...)
}

func (f *copyFlags) run(c *cobra.Command, run func(context.Context, transfer.CopyOptions) error) error {
	if err := prepare(c, f.rules, f.format, &f.Options, &f.Sources, &f.Lock); err != nil {
		return err
	}
	return run(c.Context(), f.CopyOptions)
}

func newMirror() *cobra.Command {
	var f copyFlags
	c := &cobra.Command{
		Use:   "mirror",
		Short: "Copy images to the private registry",
		Long: `Copy images to the private registry.

Images are selected by flags such as --set, --chart or --filename. Without any of
these flags, the images in the lock file are copied. Each image is copied by digest,
with all platforms, signatures and attestations, and is recorded in the lock file.
Later runs copy the recorded digests, even if a public tag has moved; --update
resolves the tags again. Images that are already present are skipped. An incomplete
image, which lacks a platform or a signature, gets what it lacks.

The webhook's own image is one of the images that are selected. A released command
carries it; --webhook-image names a registry that has it instead.

With --track, the newest versions of charts are read from their repository, with
everything on that they can switch on. Charts are kept in the user's cache folder: a
run without news costs one request to the repository. A version whose images are not
known does not stop the others. With --charts, the charts themselves are copied too, to
REGISTRY/charts/NAME with the version as tag, for helm pull oci://REGISTRY/charts/NAME.
Their archives are compared with the digests in the repository's index.

A source that names no image is an error, and nothing is copied. An image that fails
does not stop the others: it keeps its old entry in the lock file, or is listed there
as not copied.

On ECR, missing repositories are created as configured. A tag of the private registry
that refers to another image is not changed, unless --overwrite is set. If a run is
interrupted, start it again: it resumes where it stopped.

Exit codes:
  0  all images are in the private registry
  1  at least one image could not be copied or has no name in the private registry, a
     source names no image, or a tracked version may lack images
  2  invalid usage or configuration
  3  (--dry-run) at least one image is missing, incomplete or different`,
		Example: `  # Copy the images of CAST AI's umbrella chart, and the webhook's own
  privatelink mirror --config privatelink.yaml --set umbrella

  # Copy the newest versions of CAST AI's charts, before they are installed
  privatelink mirror --config privatelink.yaml --set umbrella --track

  # Copy the charts themselves as well, for Helm with oci://
  privatelink mirror --config privatelink.yaml --set umbrella --track --charts

  # Copy what pods wait for
  privatelink mirror --config privatelink.yaml --missing

  # Show what would be copied
  privatelink mirror --config privatelink.yaml --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, transfer.Mirror) },
	}
	f.add(c)
	addPushFlags(c.Flags(), &f.Options)
	c.Flags().BoolVar(&f.DryRun, "dry-run", false, "show what would be copied, and exit with 3 if there is anything")
	return c
}

func newCheck() *cobra.Command {
	var f copyFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Report images that are missing from the private registry",
		Long: `Report images that are missing from the private registry, incomplete, or different
from what they should be. An image is incomplete if it lacks a platform, or a signature
or attestation that was copied. Nothing is changed.

Without flags that select images, the images in the lock file are compared. Before an
upgrade, select what will be installed, for example with --chart or --set. No public
registry is contacted: an image that the lock file does not list is present if the
private registry has its tag, with all platforms; it is not compared with its source.
With --update, the public tags are resolved and compared.

Exit codes:
  0  all images are in the private registry
  1  at least one image could not be compared, has no name in the private registry, or
     was not copied when the lock file was written; or a source names no image
  2  invalid usage or configuration
  3  at least one image is missing, incomplete or different`,
		Example: `  # Check the images in the lock file
  privatelink check --config privatelink.yaml

  # Check the next versions of the Helm releases in the cluster, with their values
  privatelink check --config privatelink.yaml --cluster --ahead

  # Check whether the images of a chart version are present
  privatelink check --config privatelink.yaml --chart castai@0.43.1 --values values.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, transfer.Check) },
	}
	f.add(c, output.HTML)
	return c
}
