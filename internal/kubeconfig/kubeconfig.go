// SPDX-License-Identifier: Apache-2.0

// Package kubeconfig selects a cluster as kubectl does.
package kubeconfig

import (
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
		return nil, nil, exitcode.Usagef("no cluster to talk to: %w: see --kubeconfig and --context", err)
	}
	// The limits of client-go are those of a controller: a command with some dozens of
	// requests would wait for seconds.
	config.QPS, config.Burst = 50, 100
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
