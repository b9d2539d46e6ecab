// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	_ "time/tzdata" // CronJobs with a time zone, on machines without zone files

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the build_info metric
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// controlPlane holds what every build can run.
func controlPlane() map[string]program {
	return map[string]program{
		"etcd":                    etcd,
		"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
		"kube-controller-manager": func() int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
		"kubectl":                 kubectl,
	}
}

// etcd exits the process itself when it fails, hence the plain 0.
func etcd() int {
	etcdmain.Main(os.Args)
	return 0
}

// kubectl sets the verbosity before the command exists, as upstream's main
// does: plugins and .kuberc are already read while the command is made.
func kubectl() int {
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args)) // the command reports a bad value better
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err) // prints the error as kubectl does and exits
	}
	return 0
}
