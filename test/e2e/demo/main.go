// SPDX-License-Identifier: Apache-2.0

// Command demo shows the product without a cluster, a registry or an account. It
// starts a real control plane, applies the shipped bundle and the workloads of an
// onboarding, and prints the images of their pods. There is no container runtime: no image is pulled, and the
// pods stay Pending.
//
//	go run ./test/e2e/demo
//
// It fails if one image is still public, or if a pod is missing. Nothing is
// left behind but the cached control plane in .cache/kube.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/test/e2e"
	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

func main() {
	os.Exit(harness.Run(os.Stderr, func(ctx context.Context, p harness.Programs) int {
		// The table comes last, when all is over.
		var table bytes.Buffer
		err := run(ctx, p, &table, os.Stderr)
		if _, printed := table.WriteTo(os.Stdout); err == nil {
			err = printed
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the rest is what came of it
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "demo:", err)
			return 1
		}
		return 0
	}))
}

// run prints the table on stdout and what happens on stderr.
func run(ctx context.Context, p harness.Programs, stdout, stderr io.Writer) (err error) {
	logf := func(step string) { fmt.Fprintln(stderr, step) }
	rules, err := rewrite.New(rewrite.Config{Registry: harness.Registry})
	if err != nil {
		return err
	}
	logf("starting etcd, kube-apiserver and kube-controller-manager")
	h, err := harness.Start(ctx, p, stderr)
	if err != nil {
		return err
	}
	defer func() {
		logf("stopping everything\n")
		if stopped := h.Stop(); err == nil {
			err = stopped
		}
	}()
	tree, err := h.Tree()
	if err != nil {
		return err
	}
	logf("one line of deploy/kustomization.yaml gets the ECR prefix " + harness.Registry)
	logf("kubectl apply -k deploy")
	if _, err := h.Kubectl(ctx, nil, "apply", "-k", tree); err != nil {
		return err
	}
	if err := h.AwaitWebhook(ctx); err != nil {
		return err
	}
	logf("the webhook is ready; onboarding into the namespace " + e2e.Namespace)
	if err := e2e.Onboard(ctx, h, e2e.Namespace, logf); err != nil {
		return err
	}
	pods, err := h.RawPods(ctx, e2e.Namespace)
	if err != nil {
		return err
	}
	return report(stdout, rules, pods)
}
