// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/deploy/chart"
	"github.com/castai/privatelink-webhook/internal/configfile"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/explain"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

// installFlags are the flags of install.
type installFlags struct {
	deploy.Options
	engineFlags
	rules  ruleFlags
	pin    pinFlags
	values string
}

func (f *installFlags) add(flags *pflag.FlagSet) {
	f.rules.add(flags)
	f.pin.add(flags)
	configfile.Alternative(flags, "values")
	flags.StringSliceVar(&f.Overlays, "overlay", nil, overlayHelp())
	flags.StringVar(&f.Image, "image", "", "`IMAGE` of the webhook (default: privatelink-webhook of this version in the registry)")
	flags.StringVar(&f.Namespace, "namespace", "", namespaceHelp)
	f.engineFlags.add(flags)
	flags.StringVar(&f.FailurePolicy, "failure-policy", "", failureHelp)
	flags.StringVar(&f.values, "values", "", "`FILE` with values of the webhook's Helm chart, - for standard input")
	flags.IntVar(&f.Replicas, "replicas", 0, "`NUMBER` of webhook pods (default: 2)")
}

// check returns an error for a value that is invalid by itself.
func (f *installFlags) check(flags *pflag.FlagSet) (err error) {
	f.Engine, f.Guard, err = f.choice()
	switch {
	case err != nil:
		return err
	case f.FailurePolicy != "" && f.FailurePolicy != "Fail" && f.FailurePolicy != "Ignore":
		return exitcode.Usagef("--failure-policy %q: use Fail or Ignore", f.FailurePolicy)
	case flags.Changed("replicas") && (f.Replicas < 1 || f.Replicas > deploy.MaxReplicas):
		return exitcode.Usagef("--replicas %d: give a number from 1 to %d", f.Replicas, deploy.MaxReplicas)
	case flags.Changed("image") && f.Image == "":
		return exitcode.Usagef("--image: is empty: give an image reference, or leave the flag out")
	}
	return nil
}

// options returns what is rendered.
func (f *installFlags) options(c *cobra.Command) (o deploy.Options, err error) {
	if err := f.check(c.Flags()); err != nil {
		return o, err
	}
	o = f.Options
	if f.values != "" {
		o, err = optionsFromValues(c, f.values, f.rules.registry, f.Namespace)
	} else {
		o.Rules, o.Config, err = f.rules.rules()
	}
	if err != nil {
		return o, err
	}
	o.Image, err = f.pin.image(c, o)
	return o, err
}

func (f *installFlags) run(c *cobra.Command) error {
	o, err := f.options(c)
	if err != nil {
		return err
	}
	if err := explain.CheckLimits(c.Context(), o); err != nil {
		return exitcode.AsUsage(err)
	}
	out, err := deploy.Render(o)
	if err != nil {
		return exitcode.AsUsage(err)
	}
	if _, err = document(c).Write(out); err == nil && terminal.Screen(c.ErrOrStderr(), os.Getenv) != nil {
		fmt.Fprintln(c.ErrOrStderr(), "privatelink: "+waitHint(c))
	}
	return err
}

func newInstall() *cobra.Command {
	var f installFlags
	c := &cobra.Command{
		Use:   "install --registry PREFIX",
		Short: "Print the install bundle for kubectl apply",
		Long: `Print the install bundle of the webhook, for kubectl apply. It is the same as that of
kubectl kustomize deploy in a checkout. With --config, the file becomes the webhook's
configuration, and the match conditions of the API server are generated from it.

Run privatelink mirror first: the webhook's own image is pulled from the private
registry, too. If there is a lock file that lists it, the bundle names it by tag and
digest, so that a moved tag cannot change what runs. Otherwise it is named by tag.

With --engine policy there is no webhook: a MutatingAdmissionPolicy rewrites the pods
in the API server, by the same rules. It requires Kubernetes 1.36 or newer.

With --values, all settings come from a file of values of the Helm chart, and the objects
are those that the chart renders. Only --namespace can be given in addition. See
privatelink chart.

With each engine, the bundle contains a guard, a ValidatingAdmissionPolicy that warns if a
pod would be stored with a public image.

The expressions are compiled with the API server's CEL libraries before they are
printed. A configuration that makes them exceed a limit of the API server is refused.

Exit codes:
  0  the bundle was printed
  1  the bundle could not be written
  2  invalid usage or configuration`,
		Example: `  # Install the webhook
  privatelink install --registry 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai | kubectl apply -f -

  # Show what would change, with certificates by cert-manager
  privatelink install --config privatelink.yaml --overlay cert-manager | kubectl diff -f -

  # Install what the Helm chart installs with a file of values
  privatelink install --values values.yaml | kubectl apply -f -

  # Install the policy engine, and refuse pods that still have a public image
  privatelink install --config privatelink.yaml --engine policy --guard deny | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.add(c.Flags())
	return c
}

// optionsFromValues returns the options that render what the Helm chart renders with a
// file of values in the namespace. The registry, if it is given, must be that of the file.
func optionsFromValues(c *cobra.Command, file, registry, namespace string) (deploy.Options, error) {
	for _, name := range []string{"config", "engine", "guard", "overlay", "image", "failure-policy", "replicas", "digest"} {
		if c.Flags().Changed(name) {
			return deploy.Options{}, exitcode.Usagef("--%s: set it in the file of --values", name)
		}
	}
	name, text, err := readValues(c, file)
	if err != nil {
		return deploy.Options{}, err
	}
	o, err := chart.Options(name, text)
	if err != nil {
		return deploy.Options{}, exitcode.AsUsage(err)
	}
	if registry != "" && registry != o.Rules.Registry() {
		return deploy.Options{}, exitcode.Usagef("--registry and the registry of %s, %s, differ: give one of them", name, o.Rules.Registry())
	}
	o.Namespace = namespace
	return o, nil
}
