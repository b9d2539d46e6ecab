// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Registry is a target that can be read, too.
type Registry interface {
	mirror.Target
	Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error)
}

// ImportEndpoints returns the source and the target of an import. For a full archive that is
// the archive and the registry. For a delta the registry is asked first whether
// it has every blob that was left out, in a repository of the older lock; the
// error names those that it lacks. Where an image needs such a blob in another
// repository, it is mounted there, or where the registry does not do that, copied
// from the one that has it.
//
// Nothing is written before that. target tells where an image of the older lock
// is in this registry, by its source and by its target in that lock.
func (a *Archive) ImportEndpoints(ctx context.Context, r Registry, target func(source, locked string) (string, error)) (mirror.Source, mirror.Target, error) {
	if !a.IsDelta() {
		return a, r, nil
	}
	repositories := make([]string, len(a.meta.Assumes.Images))
	for i, image := range a.meta.Assumes.Images {
		ref, err := target(image.Source, image.Target)
		if err != nil {
			return nil, nil, fmt.Errorf("%s, which the archive assumes to be there: %w", image.Source, err)
		}
		repositories[i] = rewrite.SplitReference(ref).Repository
	}
	b := &base{archive: a, registry: r, has: map[digest.Digest]string{}}
	found := make([]string, len(a.meta.Assumes.Blobs))
	all, group := errgroup.WithContext(ctx)
	all.SetLimit(16)
	for n, blob := range a.meta.Assumes.Blobs {
		all.Go(func() (err error) {
			found[n], err = holder(group, r, blob, repositories)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, nil, err
	}
	var missing []string
	for n, blob := range a.meta.Assumes.Blobs {
		if b.has[blob.Digest] = found[n]; found[n] == "" {
			missing = append(missing, fmt.Sprintf("%s (%s, of %s)", blob.Digest, size(blob.Size), a.meta.Assumes.Images[blob.Images[0]].Source))
		}
	}
	if len(missing) > 0 {
		more := ""
		if n := len(missing) - 10; n > 0 {
			missing, more = missing[:10], fmt.Sprintf("\n  and %d more", n)
		}
		return nil, nil, fmt.Errorf("%s is a delta to the lock file %s, and the registry lacks what that had; nothing was written. Import the archive of that lock file first, or a full one. Missing:\n  %s%s",
			a.parts.stem, a.meta.Assumes.Lock, strings.Join(missing, "\n  "), more)
	}
	return (*baseSource)(b), (*baseTarget)(b), nil
}

// holder returns a repository that has a blob, or "".
func holder(ctx context.Context, t mirror.Target, b assumedBlob, repositories []string) (string, error) {
	var asked []string
	for _, i := range b.Images {
		if slices.Contains(asked, repositories[i]) {
			continue
		}
		asked = append(asked, repositories[i])
		if has, err := t.HasBlob(ctx, repositories[i], descriptor(b.stored)); has || err != nil {
			return repositories[i], err
		}
	}
	return "", nil
}

func descriptor(s stored) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: s.Digest, Size: s.Size}
}

// base knows where the registry has the blobs that a delta leaves out.
type base struct {
	archive  *Archive
	registry Registry
	has      map[digest.Digest]string
}

// baseSource is the archive, completed by the registry.
type baseSource base

func (b *baseSource) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	return b.archive.Resolve(ctx, repository, tagOrDigest)
}

func (b *baseSource) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	return b.archive.Manifest(ctx, repository, d)
}

func (b *baseSource) Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return b.archive.Referrers(ctx, repository, d)
}

// Blob opens an assumed blob not before it is read: most are mounted, and never
// are.
func (b *baseSource) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	from, ok := b.has[d.Digest]
	if !ok {
		return b.archive.Blob(ctx, repository, d)
	}
	return &lazy{open: func() (io.ReadCloser, error) { return b.registry.Blob(ctx, from, d) }}, nil
}

// lazy opens what it reads with the first read.
type lazy struct {
	open func() (io.ReadCloser, error)
	body io.ReadCloser
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.body == nil {
		body, err := l.open()
		if err != nil {
			return 0, err
		}
		l.body = body
	}
	return l.body.Read(p)
}

func (l *lazy) Close() error {
	if l.body == nil {
		return nil
	}
	return l.body.Close()
}

// baseTarget is the registry, which shares assumed blobs rather than takes them.
type baseTarget base

func (b *baseTarget) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	return b.registry.Resolve(ctx, repository, tagOrDigest)
}

func (b *baseTarget) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	return b.registry.HasBlob(ctx, repository, d)
}

func (b *baseTarget) Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error) {
	return b.registry.Mount(ctx, repository, from, d)
}

func (b *baseTarget) PutManifest(ctx context.Context, repository string, d ocispec.Descriptor, text []byte, tag string) error {
	return b.registry.PutManifest(ctx, repository, d, text, tag)
}

// Upload tries to mount an assumed blob before it takes any of the content.
func (b *baseTarget) Upload(ctx context.Context, repository string, d ocispec.Descriptor, content io.Reader) error {
	if from, ok := b.has[d.Digest]; ok && from != repository {
		if mounted, err := b.registry.Mount(ctx, repository, from, d); mounted && err == nil {
			return nil
		}
	}
	return b.registry.Upload(ctx, repository, d, content)
}
