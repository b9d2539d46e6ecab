// SPDX-License-Identifier: Apache-2.0

// Command verify runs the commands of the verification page in a folder with the files
// of a release, as a customer does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/castai/privatelink-webhook/test/integration/docs"
)

const page = "docs/guide/verify.md"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("name the folder with the files of the release")
	}
	fences, err := docs.Fences(".", page)
	if err != nil {
		return err
	}
	n, err := docs.Run(ctx, fences, docs.Release, args[0], os.Environ())
	if err == nil && n == 0 {
		err = fmt.Errorf("%s has no commands for a release", page)
	}
	if err == nil {
		fmt.Printf("%d commands of %s passed\n", n, page)
	}
	return err
}
