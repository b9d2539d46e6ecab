// SPDX-License-Identifier: Apache-2.0

// Command clients copies an image with a library of another project: crane's or
// regclient's. Credentials are those of the Docker configuration in DOCKER_CONFIG.
// Registries are accessed without TLS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/regclient/regclient"
	"github.com/regclient/regclient/config"
	"github.com/regclient/regclient/types/ref"
)

func main() {
	library := flag.String("library", "", "`NAME` of the library: crane or regclient")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *library, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, library string, images []string) error {
	if len(images) != 2 {
		return errors.New("usage: clients -library NAME SOURCE TARGET")
	}
	switch library {
	case "crane":
		return crane.Copy(images[0], images[1], crane.WithContext(ctx), crane.Insecure)
	case "regclient":
		return copyWithRegclient(ctx, images[0], images[1])
	}
	return fmt.Errorf("unknown library %q", library)
}

// copyWithRegclient copies an image with its referrers and its tags of signatures.
func copyWithRegclient(ctx context.Context, source, target string) error {
	from, err := ref.New(source)
	if err != nil {
		return err
	}
	to, err := ref.New(target)
	if err != nil {
		return err
	}
	options := []regclient.Opt{regclient.WithDockerCreds()}
	for _, host := range []string{from.Registry, to.Registry} {
		options = append(options, regclient.WithConfigHost(config.Host{Name: host, Hostname: host, TLS: config.TLSDisabled}))
	}
	client := regclient.New(options...)
	err = client.ImageCopy(ctx, from, to, regclient.ImageWithReferrers(), regclient.ImageWithDigestTags())
	return errors.Join(err, client.Close(ctx, from), client.Close(ctx, to))
}
