// SPDX-License-Identifier: Apache-2.0

// Command certmanager runs the controllers of cert-manager that the cert-manager
// variant of the bundle depends on.
//
// The project publishes its programs as images and as modules that cannot be
// required, but their controllers as a library. This program composes that library
// unchanged: issuing, renewal and injection are cert-manager's. Its
// admission webhook is left out, since it only validates what users write.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
	utilfeature "github.com/cert-manager/cert-manager/pkg/util/feature"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "certmanager:", err)
		os.Exit(1)
	}
}

// run takes the name of one of cert-manager's programs and its flags.
func run(ctx context.Context, args []string) error {
	programs := map[string]func(context.Context, string) error{"controller": issue, "cainjector": inject}
	if len(args) == 0 || programs[args[0]] == nil {
		return errors.New("usage: certmanager controller|cainjector --kubeconfig FILE [--feature-gates NAME=true|false,...]")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "of an administrator of the cluster")
	flags.Func("feature-gates", "those of cert-manager, as NAME=true|false,...", utilfeature.DefaultMutableFeatureGate.Set)
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	log := klog.Background().WithName(args[0])
	ctrl.SetLogger(log)
	return programs[args[0]](logf.NewContext(ctx, log), *kubeconfig)
}
