// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

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
		kubeconfig, context string
		now                 bool
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
			loading := clientcmd.NewDefaultClientConfigLoadingRules()
			loading.ExplicitPath = kubeconfig
			config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loading, &clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
			if err != nil {
				return usageError{fmt.Errorf("no cluster to talk to: %w; see --kubeconfig and --context", err)}
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return usageError{err}
			}
			return certs.Reset(c.Context(), certs.ResetConfig{
				Client: client, Namespace: deploy.Namespace, SecretName: deploy.CASecret, ConfigurationName: deploy.ConfigurationName,
				Now: now, Progress: func(s string) { fmt.Fprintln(c.ErrOrStderr(), s) },
			})
		},
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "`FILE` of the cluster (default: as kubectl)")
	c.Flags().StringVar(&context, "context", "", "`NAME` of the kubeconfig context (default: the current one)")
	c.Flags().BoolVar(&now, "now", false, "distrust the old CA at once, at the price of some refused pods")
	return c
}
