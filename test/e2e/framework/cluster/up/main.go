// SPDX-License-Identifier: Apache-2.0

// Command up runs a real control plane in the foreground until Ctrl-C, to try
// a bundle by hand where there is no cluster.
//
//	go run ./test/e2e/framework/cluster/up [--dir FOLDER] [-- FLAGS OF KUBE-APISERVER]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

func main() {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, release) // a second Ctrl-C does not wait
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		os.Exit(1)
	}
}

// run prints to stdout only what a shell may evaluate.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "keep data and logs in this `folder` (default: a temporary one that is removed at the end)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	bin, err := cluster.Build(ctx, ".", stderr)
	if err != nil {
		return err
	}
	c, err := cluster.Start(ctx, cluster.Config{Bin: bin, Dir: *dir, Log: stderr, APIServerArgs: flags.Args()})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "export KUBECONFIG='%s'\nexport PATH='%s':\"$PATH\"\n", c.Kubeconfig, bin)
	fmt.Fprintln(stderr, "paste the two lines into another terminal and use kubectl there; Ctrl-C stops the cluster")
	<-ctx.Done()
	return c.Stop()
}
