// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/certs"
	"github.com/castai/privatelink-webhook/deploy"
)

func newCerts() *cobra.Command {
	c := &cobra.Command{Use: "certs", Short: "Look after the webhook's self-managed certificates", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newCertsReset())
	return c
}

func newCertsReset() *cobra.Command {
	var (
		cluster clusterFlags
		now     bool
	)
	c := &cobra.Command{
		Use:   "reset",
		Short: "Revoke the webhook's CA and make a new one",
		Long: `Revoke the webhook's CA and make a new one, for instance because its key leaked.
Deleting the Secret is not enough: the API server would trust the old CA until it
expires.

By default no review is lost: the API server trusts both CAs until the webhook's
pods serve under the new one, some fifteen seconds. With --now the old CA is
distrusted first; pods of the CAST AI namespaces are then refused for a second or
two, and created again by their controllers.

It does not apply to certificates of cert-manager or of your own.`,
		Example: "  privatelink certs reset --context my-cluster",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := cluster.client()
			if err != nil {
				return err
			}
			return certs.Reset(c.Context(), certs.ResetConfig{
				Client: client, Namespace: deploy.Namespace, SecretName: deploy.CASecret, ConfigurationName: deploy.ConfigurationName,
				Now: now, Progress: func(s string) { fmt.Fprintln(c.ErrOrStderr(), s) },
			})
		},
	}
	cluster.add(c.Flags())
	c.Flags().BoolVar(&now, "now", false, "distrust the old CA at once, at the price of some refused pods")
	return c
}
