// SPDX-License-Identifier: Apache-2.0

// Package kubeconfig selects a cluster as kubectl does.
package kubeconfig

import (
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/internal/exitcode"
)

// Options select a cluster. The zero value is the current context of KUBECONFIG
// or ~/.kube/config.
type Options struct {
	File    string
	Context string
}

// Client returns a client for the cluster. No request is sent yet.
func (o Options) Client() (kubernetes.Interface, error) {
	client, _, err := o.Connect()
	return client, err
}

// Connect is Client that also returns the client's configuration. Its errors are
// usage errors.
func (o Options) Connect() (kubernetes.Interface, *rest.Config, error) {
	config, err := o.loader().ClientConfig()
	if err != nil {
		return nil, nil, exitcode.Usagef("no cluster to talk to: %w; see --kubeconfig and --context", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, exitcode.AsUsage(err)
	}
	return client, config, nil
}

func (o Options) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.File
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context})
}

// EKSCluster returns the name of the cluster in EKS, or "" if the kubeconfig does
// not contain it. `aws eks update-kubeconfig` writes it into the arguments of the
// login command, and into the name of the cluster.
func (o Options) EKSCluster() string {
	raw, err := o.loader().RawConfig()
	if err != nil {
		return ""
	}
	current := raw.CurrentContext
	if o.Context != "" {
		current = o.Context
	}
	kubeContext, ok := raw.Contexts[current]
	if !ok {
		return ""
	}
	if user, ok := raw.AuthInfos[kubeContext.AuthInfo]; ok && user.Exec != nil {
		args := user.Exec.Args
		for i := 0; i+1 < len(args); i++ {
			if args[i] == "--cluster-name" || args[i] == "-i" {
				return args[i+1]
			}
		}
	}
	if strings.HasPrefix(kubeContext.Cluster, "arn:") {
		_, name, _ := strings.Cut(kubeContext.Cluster, ":cluster/")
		return name
	}
	return ""
}
