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

// Registry is a target that can be read as well.
type Registry interface {
	mirror.Target
	Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error)
}

// ImportEndpoints returns the source and the target of an import, and writes nothing.
// For a full archive they are the archive and the registry.
//
// A delta leaves out blobs of the images of an older lock. The error names those that
// the repositories of these images do not have. An image that needs such a blob in
// another repository gets it mounted, or copied if the registry does not mount blobs.
// target returns where an image of the older lock is in this registry, by its source
// and its target in that lock.
func (a *Archive) ImportEndpoints(ctx context.Context, r Registry, target func(source, locked string) (string, error)) (mirror.Source, mirror.Target, error) {
	if !a.IsDelta() {
		return a, r, nil
	}
	repositories, err := a.assumedRepositories(target)
	if err != nil {
		return nil, nil, err
	}
	blobs := a.meta.Assumes.Blobs
	found := make([]string, len(blobs))
	all, group := errgroup.WithContext(ctx)
	all.SetLimit(16)
	for n, blob := range blobs {
		all.Go(func() (err error) {
			found[n], err = findRepository(group, r, blob, repositories)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, nil, err
	}
	b := &deltaBase{archive: a, registry: r, repositories: map[digest.Digest]string{}}
	var missing []assumedBlob
	for n, blob := range blobs {
		if b.repositories[blob.Digest] = found[n]; found[n] == "" {
			missing = append(missing, blob)
		}
	}
	if len(missing) > 0 {
		return nil, nil, a.missingBaseError(missing)
	}
	return (*deltaSource)(b), (*deltaTarget)(b), nil
}

// assumedRepositories returns the repository of each image of the older lock.
func (a *Archive) assumedRepositories(target func(source, locked string) (string, error)) ([]string, error) {
	repositories := make([]string, len(a.meta.Assumes.Images))
	for i, image := range a.meta.Assumes.Images {
		ref, err := target(image.Source, image.Target)
		if err != nil {
			return nil, fmt.Errorf("%s, which the archive assumes to be present: %w", image.Source, err)
		}
		repositories[i] = rewrite.SplitReference(ref).Repository
	}
	return repositories, nil
}

func (a *Archive) missingBaseError(missing []assumedBlob) error {
	const listed = 10
	var list strings.Builder
	for _, b := range missing[:min(listed, len(missing))] {
		fmt.Fprintf(&list, "\n  %s (%s, of %s)", b.Digest, formatSize(b.Size), a.meta.Assumes.Images[b.Images[0]].Source)
	}
	if n := len(missing) - listed; n > 0 {
		fmt.Fprintf(&list, "\n  and %d more", n)
	}
	return fmt.Errorf("%s is a delta to the lock file %s, and the registry does not have all of its blobs; nothing was written. Import the archive of that lock file first, or a full one. Missing:%s",
		a.parts.stem, a.meta.Assumes.Lock, list.String())
}

// findRepository returns a repository that has an assumed blob, or "".
func findRepository(ctx context.Context, t mirror.Target, b assumedBlob, repositories []string) (string, error) {
	var checked []string
	for _, i := range b.Images {
		if slices.Contains(checked, repositories[i]) {
			continue
		}
		checked = append(checked, repositories[i])
		if exists, err := t.HasBlob(ctx, repositories[i], descriptor(b.contentInfo)); exists || err != nil {
			return repositories[i], err
		}
	}
	return "", nil
}

func descriptor(c contentInfo) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: c.Digest, Size: c.Size}
}

// deltaBase has a repository of the registry for each blob that a delta leaves out.
type deltaBase struct {
	archive      *Archive
	registry     Registry
	repositories map[digest.Digest]string
}

// deltaSource reads assumed blobs from the registry and all else from the archive.
type deltaSource deltaBase

func (b *deltaSource) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	return b.archive.Resolve(ctx, repository, tagOrDigest)
}

func (b *deltaSource) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	return b.archive.Manifest(ctx, repository, d)
}

func (b *deltaSource) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	return b.archive.HasBlob(ctx, repository, d)
}

func (b *deltaSource) Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return b.archive.Referrers(ctx, repository, d)
}

// Blob opens an assumed blob when it is first read, because most are mounted and never
// read.
func (b *deltaSource) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	from, ok := b.repositories[d.Digest]
	if !ok {
		return b.archive.Blob(ctx, repository, d)
	}
	return &lazyReader{open: func() (io.ReadCloser, error) { return b.registry.Blob(ctx, from, d) }}, nil
}

// lazyReader is opened by the first read.
type lazyReader struct {
	open func() (io.ReadCloser, error)
	body io.ReadCloser
}

func (l *lazyReader) Read(p []byte) (int, error) {
	if l.body == nil {
		body, err := l.open()
		if err != nil {
			return 0, err
		}
		l.body = body
	}
	return l.body.Read(p)
}

func (l *lazyReader) Close() error {
	if l.body == nil {
		return nil
	}
	return l.body.Close()
}

// deltaTarget mounts assumed blobs in the registry instead of uploading them.
type deltaTarget deltaBase

func (b *deltaTarget) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	return b.registry.Resolve(ctx, repository, tagOrDigest)
}

func (b *deltaTarget) Fetch(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, []byte, error) {
	return b.registry.Fetch(ctx, repository, tagOrDigest)
}

func (b *deltaTarget) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	return b.registry.Manifest(ctx, repository, d)
}

func (b *deltaTarget) Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return b.registry.Referrers(ctx, repository, d)
}

func (b *deltaTarget) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	return b.registry.HasBlob(ctx, repository, d)
}

func (b *deltaTarget) Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error) {
	return b.registry.Mount(ctx, repository, from, d)
}

func (b *deltaTarget) PutManifest(ctx context.Context, repository string, d ocispec.Descriptor, raw []byte, tag string) error {
	return b.registry.PutManifest(ctx, repository, d, raw, tag)
}

// Upload mounts an assumed blob if possible, without reading the content.
func (b *deltaTarget) Upload(ctx context.Context, repository string, d ocispec.Descriptor, content io.Reader) error {
	if from, ok := b.repositories[d.Digest]; ok && from != repository {
		if mounted, err := b.registry.Mount(ctx, repository, from, d); mounted && err == nil {
			return nil
		}
	}
	return b.registry.Upload(ctx, repository, d, content)
}
