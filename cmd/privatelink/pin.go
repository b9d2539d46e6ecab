// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/selection"
)

// pinFlags select the digest of the webhook's image.
type pinFlags struct {
	lock   selection.LockFile
	digest bool
}

func (f *pinFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.lock.Name, "lock", lock.DefaultFile, lockHelp)
	flags.BoolVar(&f.digest, "digest", false, "require the digest of the lock file; --digest=false names the image by tag only (default: the digest, if the lock file has it)")
}

// image returns the image for the bundle: the one that was named or, if the lock file
// has its digest, that of this version with the digest. "" is the default. A lock file
// that was not asked for is no reason to fail, but is not ignored in silence.
func (f *pinFlags) image(c *cobra.Command, o deploy.Options) (string, error) {
	isSet := c.Flags().Changed("digest")
	switch {
	case isSet && f.digest && o.Image != "":
		return "", exitcode.Usagef("--image names the image, and --digest the lock file's: give one of them")
	case isSet && f.digest && o.Engine == deploy.Policy:
		return "", exitcode.Usagef("--digest: engine policy has no pods: leave it out")
	case o.Image != "", o.Engine == deploy.Policy, isSet && !f.digest:
		return o.Image, nil
	}
	image, err := f.lock.WebhookImage(c.Context(), o.Rules)
	switch {
	case err == nil:
		return image, nil
	case isSet, c.Flags().Changed("lock"):
		return "", exitcode.AsUsage(err)
	case !errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(c.ErrOrStderr(), "privatelink: the webhook's image is not pinned by digest: %v\n", err)
	}
	return "", nil
}
