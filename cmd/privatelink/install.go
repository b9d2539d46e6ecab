// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/deploy/chart"
	"github.com/castai/privatelink-webhook/internal/configfile"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/explain"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

func newInstall() *cobra.Command {
	var (
		rules         ruleFlags
		o             deploy.Options
		engine, guard string
		values        string
		pin           pinFlags
	)
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
		RunE: func(c *cobra.Command, _ []string) (err error) {
			o.Engine, o.Guard = deploy.Engine(engine), deploy.Guard(guard)
			switch {
			case !slices.Contains(deploy.Engines(), o.Engine):
				return exitcode.Usagef("--engine %q: use webhook or policy", engine)
			case !slices.Contains(deploy.Guards(), o.Guard):
				return exitcode.Usagef("--guard %q: use warn, deny or off", guard)
			case o.FailurePolicy != "" && o.FailurePolicy != "Fail" && o.FailurePolicy != "Ignore":
				return exitcode.Usagef("--failure-policy %q: use Fail or Ignore", o.FailurePolicy)
			case c.Flags().Changed("replicas") && (o.Replicas < 1 || o.Replicas > deploy.MaxReplicas):
				return exitcode.Usagef("--replicas %d: give a number from 1 to %d", o.Replicas, deploy.MaxReplicas)
			case c.Flags().Changed("image") && o.Image == "":
				return exitcode.Usagef("--image: is empty: give an image reference, or leave the flag out")
			}
			if values != "" {
				o, err = optionsFromValues(c, values, rules.registry, o.Namespace)
			} else {
				o.Rules, o.Config, err = rules.rules()
			}
			if err != nil {
				return err
			}
			if o.Image, err = pin.image(c, o); err != nil {
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
		},
	}
	rules.add(c.Flags())
	pin.add(c.Flags())
	configfile.Alternative(c.Flags(), "values")
	c.Flags().StringSliceVar(&o.Overlays, "overlay", nil, overlayHelp())
	c.Flags().StringVar(&o.Image, "image", "", "`IMAGE` of the webhook (default: privatelink-webhook of this version in the registry)")
	c.Flags().StringVar(&o.Namespace, "namespace", "", namespaceHelp)
	c.Flags().StringVar(&engine, "engine", string(deploy.Webhook), engineHelp)
	c.Flags().StringVar(&guard, "guard", string(deploy.GuardWarn), guardHelp)
	c.Flags().StringVar(&o.FailurePolicy, "failure-policy", "", failureHelp)
	c.Flags().StringVar(&values, "values", "", "`FILE` with values of the webhook's Helm chart, - for standard input")
	c.Flags().IntVar(&o.Replicas, "replicas", 0, "`NUMBER` of webhook pods (default: 2)")
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
		return deploy.Options{}, exitcode.Usagef("--registry %s and the registry of %s, %s, differ: give one of them", registry, name, o.Rules.Registry())
	}
	o.Namespace = namespace
	return o, nil
}
