// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterFlags name a cluster as kubectl does.
type clusterFlags struct{ kubeconfig, context string }

func (f *clusterFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "`FILE` of the cluster (default: as kubectl)")
	flags.StringVar(&f.context, "context", "", "`NAME` of the kubeconfig context (default: the current one)")
}

// client is one of the cluster. Nothing is asked yet.
func (f *clusterFlags) client() (kubernetes.Interface, error) {
	loading := clientcmd.NewDefaultClientConfigLoadingRules()
	loading.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loading, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return nil, usageError{fmt.Errorf("no cluster to talk to: %w; see --kubeconfig and --context", err)}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}
