// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/internal/kubeconfig"
)

// clusterFlags select a cluster as kubectl does.
type clusterFlags struct{ kubeconfig.Options }

func (f *clusterFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.File, "kubeconfig", "", "kubeconfig `FILE` (default: as kubectl)")
	flags.StringVar(&f.Context, "context", "", "`NAME` of the kubeconfig context (default: the current one)")
}

func (f *clusterFlags) client() (kubernetes.Interface, error) { return f.Client() }

func (f *clusterFlags) connect() (kubernetes.Interface, *rest.Config, error) { return f.Connect() }

func (f *clusterFlags) eksName() string { return f.EKSCluster() }
