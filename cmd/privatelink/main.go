// SPDX-License-Identifier: Apache-2.0

// Command privatelink mirrors the images of CAST AI to a private registry, renders
// the install bundle of the webhook, and diagnoses a cluster.
//
// Its exit codes are those of package exitcode.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	// Root certificates for systems that have none, such as an image FROM scratch.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/castai/privatelink-webhook/internal/buildinfo"
	"github.com/castai/privatelink-webhook/internal/completion"
	"github.com/castai/privatelink-webhook/internal/configfile"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/flagenv"
	"github.com/castai/privatelink-webhook/internal/help"
	"github.com/castai/privatelink-webhook/internal/plugin"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process, whatever it waits for
	code := run(ctx, os.Args[0], os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs a program that is called by a name, which may be that of a plugin.
func run(ctx context.Context, program string, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(getenv)
	root.SetIn(stdin)
	root.SetOut(terminal.NewWriter(stdout).WithStyles(getenv))
	root.SetErr(terminal.NewWriter(stderr).WithStyles(getenv))
	root.InitDefaultCompletionCmd() // after SetOut, because the commands keep the output
	plugin.AddCompletion(root)
	root.SetArgs(plugin.Apply(root, program, args))
	help.Fit(root, terminal.Width(root.OutOrStdout()))
	return exitcode.Report(root.ErrOrStderr(), root.Name(), root.ExecuteContext(ctx))
}

func newRoot(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:     "privatelink",
		Version: buildinfo.Read(version).Version,
		Short:   "Run CAST AI on EKS clusters that have no route to the internet",
		Long: `Run CAST AI on Amazon EKS clusters that have no route to the internet.

Every flag can also be set by an environment variable: --registry by
PRIVATELINK_REGISTRY, and so on. A flag on the command line takes precedence.

Without --config and --registry, commands read privatelink.yaml if it is in the
current folder, and report that on standard error.

Exit codes:
  0  done
  1  something could not be done, or could not be checked
  2  invalid usage or configuration
  3  found something that needs action, such as a missing image or a failed check`,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if !c.HasParent() { // its --help and --version are not set by variables
				return nil
			}
			if err := flagenv.Set(c.Flags(), getenv); err != nil {
				return exitcode.AsUsage(err)
			}
			return exitcode.AsUsage(configfile.Find(c.Flags(), warner(c)))
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return exitcode.Usagef("%w%s: see %s --help", err, suggestFlags(c, err), c.CommandPath())
	})
	addGroup(root, "Image", newImages(), newMirror(), newCheck(), newExport(), newImport(), newChartRepository(), newPrune(), newRewrite())
	addGroup(root, "Cluster", newInstall(), newUninstall(), newChart(), newStatus(), newCerts())
	addGroup(root, "Diagnostic", newDoctor(), newExplain())
	root.AddCommand(newVersion(), newRenderChart(), newMan())
	root.Flags().Bool("version", false, "print the version")
	root.SetVersionTemplate("{{.DisplayName}} {{.Version}}\n")
	wrapArgs(root)
	completion.Add(root, completions())
	return root
}

func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title + " Commands:"})
	for _, c := range commands {
		c.GroupID = title
	}
	root.AddCommand(commands...)
}

// wrapArgs makes invalid arguments a usage error in every command.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return exitcode.Usagef("%w%s: see %s --help", err, suggestCommands(c, args), c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}
