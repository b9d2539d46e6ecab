// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/certs"
	"github.com/castai/privatelink-webhook/deploy"
	doctorcluster "github.com/castai/privatelink-webhook/internal/doctor/cluster"
)

func newCerts() *cobra.Command {
	c := &cobra.Command{Use: "certs", Short: "Manage the webhook's self-managed certificates", Args: cobra.NoArgs,
		Long: "Manage the webhook's self-managed certificates.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newCertsReset())
	return c
}

func newCertsReset() *cobra.Command {
	var (
		cluster  clusterFlags
		now, yes bool
	)
	c := &cobra.Command{
		Use:   "reset",
		Short: "Replace the webhook's CA",
		Long: `Replace the webhook's CA, for example because its key was disclosed. Deleting the
Secret is not sufficient: the API server would trust the old CA until it expires.

By default, no admission request fails: the API server trusts both CAs until the
webhook's pods serve with the new one, about fifteen seconds. With --now, the old CA
is removed first. Pods in the CAST AI namespaces are then refused for a second or two,
and their controllers create them again.

Certificates of cert-manager and certificates from files are not affected.

The command names the cluster and asks. A script, which has no terminal, names the
cluster with --context and confirms with --yes.

Exit codes:
  0  the CA was replaced
  1  the CA was not replaced
  2  invalid usage, no kubeconfig, or not confirmed`,
		Example: `  # Replace the CA of the webhook in another cluster
  privatelink certs reset --context my-cluster

  # The same in a script
  privatelink certs reset --context my-cluster --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := cluster.Client()
			if err != nil {
				return err
			}
			if err := action(c, cluster.Options, yes, "replace the CA of the webhook").Ask(); err != nil {
				return err
			}
			return cluster.Explain(certs.Reset(c.Context(), certs.ResetConfig{
				Client: client, Namespace: doctorcluster.FindNamespace(c.Context(), client, deploy.ConfigurationName, deploy.Namespace), SecretName: deploy.CASecret, ConfigurationName: deploy.ConfigurationName, ServiceName: deploy.Name,
				Now: now, Progress: func(s string) { fmt.Fprintln(c.ErrOrStderr(), s) },
			}))
		},
	}
	cluster.add(c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "do not ask; requires --context")
	c.Flags().BoolVar(&now, "now", false, "remove the old CA first; some pods are refused meanwhile")
	return c
}
