// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
)

func newInstall() *cobra.Command {
	var (
		rules ruleFlags
		o     deploy.Options
		fail  string
	)
	c := &cobra.Command{
		Use:   "install --registry PREFIX",
		Short: "Print the webhook's install bundle for kubectl apply",
		Long: `Print the webhook's install bundle, the same as kubectl kustomize deploy does in a
checkout. With --config, the conditions under which the API server calls the
webhook are generated from that file, and it becomes the webhook's configuration.

Mirror the webhook's own image first: it is pulled from the registry, too.`,
		Example: `  privatelink install --registry 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai | kubectl apply -f -
  privatelink install --config privatelink.yaml --overlay cert-manager | kubectl diff -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			switch fail {
			case "Fail", "Ignore":
				o.Ignore = fail == "Ignore"
			default:
				return usageError{fmt.Errorf("--failure-policy %q: use Fail or Ignore", fail)}
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
	c.Flags().StringVar(&fail, "failure-policy", "Fail", "`POLICY` while the webhook cannot be reached: Fail holds pods with public images back, Ignore lets them start unmapped")
	c.Flags().IntVar(&o.Replicas, "replicas", 0, "`NUMBER` of webhook pods (default 2)")
	_ = c.RegisterFlagCompletionFunc("overlay", cobra.FixedCompletions(deploy.Overlays(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("failure-policy", cobra.FixedCompletions([]string{"Fail", "Ignore"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}
