// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command up runs an isolated node in the foreground until Ctrl-C, to try a
// bundle by hand where the customer's troubles are real. Root only.
//
//	go run ./test/isolated/up [--dir FOLDER] [MANIFEST...]
//
// The manifests name images to publish in the ECR stand-in, in addition to those of the
// catalog.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/castai/privatelink-webhook/test/isolated"
	"github.com/castai/privatelink-webhook/test/isolated/machine"
)

func main() {
	os.Exit(isolated.Run(os.Stderr, func(ctx context.Context, p isolated.Programs) int {
		if err := run(ctx, p, os.Args[1:], os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "up:", err)
			return 1
		}
		return 0
	}))
}

// run prints to stdout only what a shell may evaluate.
func run(ctx context.Context, p isolated.Programs, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "keep data and logs in this `folder` (default: in memory)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir != "" {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		*dir = abs
	}
	var manifests []string
	for _, file := range flags.Args() {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		manifests = append(manifests, string(text))
	}
	n, err := isolated.Start(ctx, isolated.Config{Programs: p, Dir: *dir, Log: stderr, Manifests: manifests})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "nsenter --target %d --net --mount --pid --ipc --wd=\"$PWD\" env KUBECONFIG='%s' PATH='%s:%s':\"$PATH\" bash\n", machine.PID(), n.Kubeconfig, n.Kubernetes, filepath.Dir(p.CLI()))
	fmt.Fprintln(stderr, "run the line in another terminal and use kubectl, privatelink and ctr there; Ctrl-C stops the node")
	<-ctx.Done()
	return n.Stop()
}
