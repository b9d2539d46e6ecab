// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/exitcode"
)

func newUninstall() *cobra.Command {
	var (
		r     deploy.Removal
		flags engineFlags
	)
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Print the objects of the install bundle for kubectl delete",
		Long: `Print the objects of the install bundle for kubectl delete, in an order that refuses no
pod: what calls the webhook is deleted before the webhook. Give the flags that it was
installed with; the configuration and the registry do not matter. With --guard off, the
guard stays. Objects that another overlay left behind are included.

Running pods keep their private images. New pods get the images of their manifests. If
the guard denies pods, change it to warn with 'privatelink install' first.

The namespace castai-privatelink is included. Another --namespace is not, because it may
contain other objects. Delete a Helm release with 'helm uninstall' instead.

Exit codes:
  0  the objects were printed
  1  the objects could not be written
  2  invalid usage`,
		Example: `  # Uninstall the webhook
  privatelink uninstall | kubectl delete --ignore-not-found -f -

  # Uninstall a bundle that has certificates of cert-manager
  privatelink uninstall --overlay cert-manager | kubectl delete --ignore-not-found -f -

  # Delete the policy engine, and keep the guard for the webhook
  privatelink uninstall --engine policy --guard off | kubectl delete --ignore-not-found -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if r.Engine, r.Guard, err = flags.choice(); err != nil {
				return err
			}
			out, err := deploy.RenderRemoval(r)
			if err != nil {
				return exitcode.AsUsage(err)
			}
			_, err = document(c).Write(out)
			return err
		},
	}
	c.Flags().StringSliceVar(&r.Overlays, "overlay", nil, overlayHelp())
	c.Flags().StringVar(&r.Namespace, "namespace", "", namespaceHelp)
	flags.add(c.Flags())
	return c
}
