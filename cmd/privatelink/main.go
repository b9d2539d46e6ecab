// SPDX-License-Identifier: Apache-2.0

// Command privatelink is the operator's side: which images are needed, copy them
// to the private registry, say what is missing; explain and apply the rewriting
// without a cluster, render the install bundle, look after certificates.
//
// Exit codes: 0 done, 1 failed or some image could not be mapped or copied, 2
// wrong usage or configuration, 3 a check found images missing or the doctor a
// fault.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/flagenv"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// usageError is a fault in flags, arguments or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// reported is a failure that was told on standard error already.
type reported struct{ error }

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(getenv)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var wrong usageError
	var told reported
	var lacking incomplete

	switch {
	case err == nil:
		return 0
	case errors.As(err, &told):
		return 1
	case errors.As(err, &lacking):
		return 3
	case errors.As(err, &wrong):
		fmt.Fprintln(stderr, "privatelink:", err)
		return 2
	}
	return exitcode.Report(stderr, "privatelink", err)
}

func newRoot(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:   "privatelink",
		Short: "Run CAST AI's images from a private registry",
		Long: `Run CAST AI on clusters that reach no public registry: list the images it needs,
copy them, see where each belongs, rewrite manifests, render the webhook's install
bundle, find out what is wrong.

Each flag is also read from the environment: --registry from PRIVATELINK_REGISTRY,
and so on.

Exit codes: 0 done; 1 failed, or some image could not be mapped or copied; 2 wrong
usage or configuration; 3 a check or a dry run found something to copy, or the
doctor something to put right.`,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := flagenv.Set(c.Flags(), getenv); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	root.AddCommand(newRewrite(), newImages(), newMirror(), newCheck(), newExport(), newImport(), newPrune(), newInstall(), newExplain(), newDoctor(), newStatus(), newCerts(), newVersion())
	wrapArgs(root)
	return root
}

// wrapArgs makes wrong arguments a usage error, in every command.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "privatelink", version)
			return err
		},
	}
}
