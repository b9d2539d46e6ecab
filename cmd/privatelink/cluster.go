// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/confirm"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
)

// clusterFlags select a cluster as kubectl does.
type clusterFlags struct{ kubeconfig.Options }

func (f *clusterFlags) add(flags *pflag.FlagSet) { addClusterFlags(flags, &f.Options) }

func addClusterFlags(flags *pflag.FlagSet, o *kubeconfig.Options) {
	flags.StringVar(&o.File, "kubeconfig", "", "kubeconfig `FILE` (default: as kubectl)")
	flags.StringVar(&o.Context, "context", "", "`NAME` of the kubeconfig context (default: the current one)")
}

// action returns a change of the selected cluster, which the user confirms with --yes
// and --context, or on the terminal.
func action(c *cobra.Command, o kubeconfig.Options, yes bool, what string) confirm.Action {
	return confirm.Action{What: what, Target: o.Target(), Named: o.Context != "", Yes: yes, In: c.InOrStdin(), Err: c.ErrOrStderr()}
}
