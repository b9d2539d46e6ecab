// SPDX-License-Identifier: Apache-2.0

// Command ociimage builds a multi-platform OCI image of the webhook server without
// Docker. The image of each platform has one layer with one file, the static binary.
//
// It writes the image to an OCI layout in a tar archive, as read by `docker load`,
// `ctr image import` and `skopeo copy oci-archive:`, or pushes it to a registry with
// the credentials of the Docker configuration. Builds are reproducible: the same
// binaries result in the same digest.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "ociimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var (
		binaries  map[string]string
		out, push string
		version   string
	)
	f := pflag.NewFlagSet("ociimage", pflag.ContinueOnError)
	f.StringToStringVar(&binaries, "binary", nil, "`ARCH=FILE` of a static Linux binary; repeat for each architecture")
	f.StringVar(&out, "out", "", "write an OCI layout to this tar `FILE`")
	f.StringVar(&push, "push", "", "push to this `REFERENCE`, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/privatelink-webhook:v0.1.0")
	f.StringVar(&version, "version", "dev", "`VERSION` for the image's labels")
	if err := f.Parse(args); err != nil {
		return err
	}
	if len(binaries) == 0 || out == "" && push == "" {
		return errors.New("required: --binary ARCH=FILE, and --out FILE or --push REFERENCE; see --help")
	}
	index, err := buildIndex(binaries, version)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if out != "" {
		if err := writeArchive(index, version, out); err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		fmt.Fprintf(stdout, "%s  %s\n", digest, out)
	}
	if push != "" {
		if err := pushIndex(ctx, index, push); err != nil {
			return fmt.Errorf("push %s: %w", push, err)
		}
		fmt.Fprintf(stdout, "%s  %s\n", digest, push)
	}
	return nil
}

func pushIndex(ctx context.Context, index v1.ImageIndex, to string) error {
	ref, err := name.ParseReference(to)
	if err != nil {
		return err
	}
	return remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}
