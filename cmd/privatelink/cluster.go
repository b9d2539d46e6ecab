// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
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
	client, _, err := f.connect()
	return client, err
}

// connect returns a client and where it came from.
func (f *clusterFlags) connect() (kubernetes.Interface, *rest.Config, error) {
	config, err := f.loader().ClientConfig()
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("no cluster to talk to: %w; see --kubeconfig and --context", err)}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return client, config, nil
}

func (f *clusterFlags) loader() clientcmd.ClientConfig {
	loading := clientcmd.NewDefaultClientConfigLoadingRules()
	loading.ExplicitPath = f.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loading, &clientcmd.ConfigOverrides{CurrentContext: f.context})
}

// eksName is the name that EKS has for the cluster, if the kubeconfig tells:
// aws eks update-kubeconfig writes it into the arguments of the login command.
func (f *clusterFlags) eksName() string {
	raw, err := f.loader().RawConfig()
	if err != nil {
		return ""
	}
	current := raw.CurrentContext
	if f.context != "" {
		current = f.context
	}
	in, ok := raw.Contexts[current]
	if !ok {
		return ""
	}
	if user, ok := raw.AuthInfos[in.AuthInfo]; ok && user.Exec != nil {
		for i, a := range user.Exec.Args[:max(0, len(user.Exec.Args)-1)] {
			if a == "--cluster-name" || a == "-i" {
				return user.Exec.Args[i+1]
			}
		}
	}
	if strings.HasPrefix(in.Cluster, "arn:") {
		_, name, _ := strings.Cut(in.Cluster, ":cluster/")
		return name
	}
	return ""
}
