// SPDX-License-Identifier: Apache-2.0

// Command ociimage builds a multi-platform OCI image of a static program without
// Docker. The image of each platform has one layer with the program and, if asked for,
// the folders that it writes to.
//
// It writes the image to an OCI layout, in a folder or in a tar archive as read by
// `docker load`, `ctr image import` and `skopeo copy oci-archive:`, or pushes it to a
// registry with the credentials of the Docker configuration, under a tag or by its digest
// alone. Builds are reproducible: the same binaries result in the same digest and the same
// files.
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
	var s spec
	var dir, out, push, untagged string
	f := pflag.NewFlagSet("ociimage", pflag.ContinueOnError)
	f.StringVar(&s.name, "name", "privatelink-webhook", "`NAME` of the program, which is also its file in the image and the entrypoint")
	f.StringVar(&s.version, "version", "dev", "`VERSION` for the image's labels, and its tag")
	f.StringToStringVar(&s.binaries, "binary", nil, "`ARCH=FILE` of a static Linux binary; repeat for each architecture")
	f.StringSliceVar(&s.ports, "port", nil, "TCP `PORT` that the program listens on; may be repeated")
	f.BoolVar(&s.writable, "writable", false, "add a working directory and /tmp, for a program that writes files")
	f.StringVar(&dir, "layout", "", "write an OCI layout to this `FOLDER`, which is replaced")
	f.StringVar(&out, "out", "", "write an OCI layout to this tar `FILE`")
	f.StringVar(&push, "push", "", "push to this `REFERENCE`, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/privatelink-webhook:v0.2.0")
	f.StringVar(&untagged, "push-untagged", "", "push to this `REPOSITORY` by digest, without a tag")
	if err := f.Parse(args); err != nil {
		return err
	}
	if len(s.binaries) == 0 || dir == "" && out == "" && push == "" && untagged == "" {
		return errors.New("required: --binary ARCH=FILE, and --layout FOLDER, --out FILE, --push REFERENCE or --push-untagged REPOSITORY; see --help")
	}
	index, err := s.build()
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if untagged != "" {
		untagged += "@" + digest.String()
	}
	for _, output := range []struct {
		to    string
		write func() error
	}{
		{dir, func() error { return s.writeLayout(index, dir) }},
		{out, func() error { return s.writeArchive(index, out) }},
		{push, func() error { return pushIndex(ctx, index, push) }},
		{untagged, func() error { return pushIndex(ctx, index, untagged) }},
	} {
		if output.to == "" {
			continue
		}
		if err := output.write(); err != nil {
			return fmt.Errorf("%s: %w", output.to, err)
		}
		fmt.Fprintf(stdout, "%s  %s\n", digest, output.to)
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
