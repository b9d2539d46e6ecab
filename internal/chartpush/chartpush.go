// SPDX-License-Identifier: Apache-2.0

// Package chartpush pushes the Helm chart that the program carries to a registry, in
// the form that helm pull and helm install read.
package chartpush

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/deploy/chart"
	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const (
	scheme      = "oci://"
	maxAttempts = 4
)

// Options say where the chart is pushed to. To is required.
type Options struct {
	// To is oci:// and a prefix, to which the name of the chart is appended, as helm
	// push does.
	To string
	// Overwrite moves the tag of the version if it refers to another chart.
	Overwrite bool
	// Connect has the credentials, and the settings of an ECR repository that is
	// created. Its Prefix is set by Run.
	Connect awsecr.ConnectOptions
	Out     io.Writer
}

// Repositories creates missing repositories, which a push to ECR needs.
type Repositories interface {
	Missing(ctx context.Context, repositories []string) ([]string, error)
	Create(ctx context.Context, repository string) error
}

// Run connects to the registry, pushes the chart, and prints how Helm pulls it.
// Pushing the same chart again changes nothing.
func Run(ctx context.Context, o Options) error {
	prefix, isOCI := strings.CutPrefix(o.To, scheme)
	repository := prefix + "/" + chart.Name
	if ref, err := rewrite.ParseReference(repository); !isOCI || err != nil || ref.Repository != repository {
		return exitcode.Usagef("--push %q: write it like oci://123456789012.dkr.ecr.us-east-1.amazonaws.com/charts", o.To)
	}
	host := rewrite.RegistryHost(prefix)
	if rewrite.IsECRHost(host) {
		o.Connect.Prefix = prefix
	}
	client, ecr, err := awsecr.Connect(ctx, o.Connect)
	if err != nil {
		return exitcode.AsUsage(err)
	}
	var repositories Repositories
	if ecr != nil {
		repositories = ecr
	}
	p, err := push(ctx, client, repositories, repository, o.Overwrite)
	if err != nil {
		return err
	}
	plain := registry.IsLoopback(host) || slices.ContainsFunc(o.Connect.PlainHTTP, func(text string) bool {
		h, err := registry.ParsePlainHTTP(text)
		return err == nil && h == host
	})
	return p.print(o.Out, plain)
}

// pushed is a chart that is in the registry.
type pushed struct {
	repository, tag, version string
	digest                   digest.Digest
	isNew                    bool
}

// push writes the chart, unless the tag of its version refers to it already.
func push(ctx context.Context, client *registry.Client, repositories Repositories, repository string, overwrite bool) (pushed, error) {
	archive, err := chart.Archive()
	if err != nil {
		return pushed{}, err
	}
	a, err := chartimage.New(archive)
	if err != nil {
		return pushed{}, err
	}
	p := pushed{repository: repository, tag: chartimage.Tag(a.Version), version: a.Version, digest: a.Descriptor.Digest}
	if repositories != nil {
		missing, err := repositories.Missing(ctx, []string{repository})
		if err != nil {
			return pushed{}, err
		}
		for _, name := range missing {
			if err := repositories.Create(ctx, name); err != nil {
				return pushed{}, err
			}
		}
	}
	client = client.ForPush()
	switch has, err := client.Resolve(ctx, repository, p.tag); {
	case err == nil && has.Digest == p.digest:
		return p, nil
	case err == nil && !overwrite:
		return pushed{}, fmt.Errorf("%s:%s is another chart, %s: push with --overwrite to replace it", repository, p.tag, has.Digest)
	case err != nil && !errors.Is(err, registry.ErrNotFound):
		return pushed{}, err
	}
	for _, b := range []chartimage.Blob{a.Config, a.Content} {
		if err := upload(ctx, client, repository, b); err != nil {
			return pushed{}, err
		}
	}
	err = retry(ctx, func() error { return client.PutManifest(ctx, repository, a.Descriptor, a.Manifest, p.tag) })
	if err != nil {
		return pushed{}, err
	}
	has, err := registry.ResolveWritten(ctx, client, repository, p.tag) // a successful PUT is no proof
	if err == nil && has.Digest != p.digest {
		err = fmt.Errorf("%s:%s is %s and not %s after the push: check whether something else pushes to it, and push again", repository, p.tag, has.Digest, p.digest)
	}
	p.isNew = true
	return p, err
}

func upload(ctx context.Context, client *registry.Client, repository string, b chartimage.Blob) error {
	has, err := client.HasBlob(ctx, repository, b.Descriptor)
	if err != nil || has {
		return err
	}
	return retry(ctx, func() error { return client.Upload(ctx, repository, b.Descriptor, bytes.NewReader(b.Data)) })
}

func retry(ctx context.Context, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt == maxAttempts || !registry.Retryable(err) {
			return err
		}
		if registry.Sleep(ctx, registry.Backoff(attempt)) != nil {
			return err
		}
	}
}

// print writes where the chart is, and the commands that pull it.
func (p pushed) print(w io.Writer, plain bool) error {
	state := "pushed"
	if !p.isNew {
		state = "already present"
	}
	text := fmt.Sprintf("%s:%s %s\ndigest: %s\n\nPull it with:\n\n", p.repository, p.tag, state, p.digest)
	if host, err := rewrite.ParseECRHost(rewrite.RegistryHost(p.repository)); err == nil {
		text += fmt.Sprintf("  aws ecr get-login-password --region %s | helm registry login --username AWS --password-stdin %s\n", host.Region, host.Name)
	}
	text += fmt.Sprintf("  helm pull %s%s --version %s", scheme, p.repository, p.version)
	if plain {
		text += " --plain-http"
	}
	_, err := io.WriteString(w, text+"\n")
	return err
}
