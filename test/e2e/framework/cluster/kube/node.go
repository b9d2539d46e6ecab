// SPDX-License-Identifier: Apache-2.0

//go:build node

package main

import (
	"context"

	"k8s.io/component-base/cli"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// node holds what a machine needs to run the pods. It is behind a build tag:
// the kubelet adds minutes to the build and a control plane never calls it.
func node() map[string]program {
	return map[string]program{
		"kube-proxy":     func() int { return cli.Run(proxy.NewProxyCommand()) },
		"kube-scheduler": func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
		"kubelet":        func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	}
}
