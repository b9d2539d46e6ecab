// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
)

func newInstall() *cobra.Command {
	var (
		rules         ruleFlags
		o             deploy.Options
		engine, guard string
	)
	c := &cobra.Command{
		Use:   "install --registry PREFIX",
		Short: "Print the webhook's install bundle for kubectl apply",
		Long: `Print the webhook's install bundle, the same as kubectl kustomize deploy does in a
checkout. With --config, the conditions under which the API server calls the
webhook are generated from that file, and it becomes the webhook's configuration.

Mirror the webhook's own image first: it is pulled from the registry, too. With
--engine policy there is none: a MutatingAdmissionPolicy rewrites the pods inside
the API server, by the same rules.

Either way a guard, a ValidatingAdmissionPolicy, sees the pods as they will be
stored, and warns of public images that are left.`,
		Example: `  privatelink install --registry 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai | kubectl apply -f -
  privatelink install --config privatelink.yaml --overlay cert-manager | kubectl diff -f -
  privatelink install --config privatelink.yaml --engine policy --guard deny | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			o.Engine, o.Guard = deploy.Engine(engine), deploy.Guard(guard)
			switch {
			case !slices.Contains(deploy.Engines(), o.Engine):
				return usageError{fmt.Errorf("--engine %q: use webhook or policy", engine)}
			case !slices.Contains(deploy.Guards(), o.Guard):
				return usageError{fmt.Errorf("--guard %q: use warn, deny or off", guard)}
			case o.FailurePolicy != "" && o.FailurePolicy != "Fail" && o.FailurePolicy != "Ignore":
				return usageError{fmt.Errorf("--failure-policy %q: use Fail or Ignore", o.FailurePolicy)}
			}
			if o.Replicas < 0 {
				return usageError{fmt.Errorf("--replicas %d: give 1 or more", o.Replicas)}
			}
			if o.Rules, o.Config, err = rules.rules(); err != nil {
				return err
			}
			out, err := deploy.Render(o)
			if err != nil {
				return usageError{err}
			}
			_, err = c.OutOrStdout().Write(out)
			return err
		},
	}
	rules.add(c.Flags())
	c.Flags().StringSliceVar(&o.Overlays, "overlay", nil, "`NAME` of a variant: "+strings.Join(deploy.Overlays(), " or ")+"; may be repeated")
	c.Flags().StringVar(&o.Image, "image", "", "`IMAGE` of the webhook (default: privatelink-webhook of this version in the registry)")
	c.Flags().StringVar(&engine, "engine", string(deploy.Webhook), "`ENGINE` that rewrites pods: webhook, or policy for CEL inside the API server (Kubernetes 1.36 or newer)")
	c.Flags().StringVar(&guard, "guard", string(deploy.GuardWarn), "`GUARD` over pods that still have a public image: warn, deny or off")
	c.Flags().StringVar(&o.FailurePolicy, "failure-policy", "", "`POLICY` while the webhook cannot be reached, or for what the policy cannot evaluate: Fail refuses such pods, Ignore lets them start unmapped (default Fail for the webhook, Ignore for the policy)")
	c.Flags().IntVar(&o.Replicas, "replicas", 0, "`NUMBER` of webhook pods (default 2)")
	_ = c.RegisterFlagCompletionFunc("overlay", cobra.FixedCompletions(deploy.Overlays(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{"webhook", "policy"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("guard", cobra.FixedCompletions([]string{"warn", "deny", "off"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("failure-policy", cobra.FixedCompletions([]string{"Fail", "Ignore"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}
