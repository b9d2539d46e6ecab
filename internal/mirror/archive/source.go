// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
)

var _ mirror.Source = (*Archive)(nil)

// Resolve finds an image by its source, or any manifest by its digest. The error is
// registry.ErrNotFound if there is none.
func (a *Archive) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	if d, ok := a.images[imageName{repository, tagOrDigest}]; ok {
		return d, nil
	}
	if d, ok := a.meta.SignatureTags[tagOrDigest]; ok {
		return a.known[d.Digest], nil
	}
	d := digest.Digest(tagOrDigest)
	if d.Validate() != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s has no image %s:%s: %w", a.parts.stem, repository, tagOrDigest, registry.ErrNotFound)
	}
	if known, ok := a.known[d]; ok {
		return known, nil
	}
	r, ok := a.entries[blobEntry(d)]
	if !ok || r.size > maxManifest {
		return ocispec.Descriptor{}, fmt.Errorf("%s has no image %s@%s: %w", a.parts.stem, repository, d, registry.ErrNotFound)
	}
	text, err := a.Manifest(ctx, repository, ocispec.Descriptor{Digest: d, Size: r.size})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var manifest struct {
		MediaType string `json:"mediaType"`
	}
	if unmarshal("", text, &manifest) != nil || manifest.MediaType == "" {
		return ocispec.Descriptor{}, fmt.Errorf("%s has %s, which is not a manifest with a media type: %w", a.parts.stem, d, registry.ErrNotFound)
	}
	return ocispec.Descriptor{MediaType: manifest.MediaType, Digest: d, Size: r.size}, nil
}

// Manifest returns a manifest and verifies its digest.
func (a *Archive) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	if d.Size > maxManifest {
		return nil, fmt.Errorf("%s: the manifest %s is too large (%s): export the archive again", a.parts.stem, d.Digest, formatSize(d.Size))
	}
	body, err := a.Blob(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// Blob opens a blob. The last read fails with registry.ErrCorrupt if the content does
// not have the digest.
func (a *Archive) Blob(_ context.Context, _ string, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %q: %w", a.parts.stem, d.Digest, err)
	}
	entry := blobEntry(d.Digest)
	r, ok := a.entries[entry]
	switch {
	case !ok && a.assumes(d.Digest):
		return nil, fmt.Errorf("%s does not include %s, which the registry is expected to have: import the full archive first: %w", a.parts.stem, d.Digest, registry.ErrNotFound)
	case !ok:
		return nil, fmt.Errorf("%s has no %s: %w", a.parts.stem, entry, registry.ErrNotFound)
	case r.size != d.Size, d.Size == 0 && d.Digest != d.Digest.Algorithm().FromString(""):
		return nil, fmt.Errorf("%s: %s has %d bytes and should have %d: %w: %s", a.parts.position(r.offset), entry, r.size, d.Size, registry.ErrCorrupt, recopyAdvice)
	}
	section := io.NopCloser(io.NewSectionReader(a.parts, r.offset, r.size))
	return &locatedReader{registry.Verified(section, d), func(err error) error {
		return fmt.Errorf("%s: %s: %w: %s", a.parts.position(r.offset), entry, err, recopyAdvice)
	}}, nil
}

// HasBlob reports whether the archive has a blob, or leaves it out because the registry
// has it.
func (a *Archive) HasBlob(_ context.Context, _ string, d ocispec.Descriptor) (bool, error) {
	_, ok := a.entries[blobEntry(d.Digest)]
	return ok || a.assumes(d.Digest), nil
}

func (a *Archive) assumes(d digest.Digest) bool {
	if a.meta.Assumes != nil {
		for _, b := range a.meta.Assumes.Blobs {
			if b.Digest == d {
				return true
			}
		}
	}
	return false
}

// locatedReader adds the position in the archive to errors.
type locatedReader struct {
	io.ReadCloser
	wrap func(error) error
}

func (p *locatedReader) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = p.wrap(err)
	}
	return n, err
}

// Referrers lists what refers to a manifest.
func (a *Archive) Referrers(_ context.Context, _ string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return a.meta.Referrers[d.Digest], nil
}

// Verify reads the whole archive and compares it with the digests of FILE.sha256, or
// with those of the blobs if that does not exist. The error names every file or blob
// that differs.
func (a *Archive) Verify(ctx context.Context) error {
	listed, err := listedSums(a.parts.stem)
	if err != nil {
		return err
	}
	if listed == nil {
		return a.verifyBlobs(ctx)
	}
	errs := make([]error, len(a.parts.files))
	var all errgroup.Group
	all.SetLimit(4)
	for i, f := range a.parts.files {
		all.Go(func() error {
			got, err := sum(ctx, f)
			want := listed[filepath.Base(a.parts.names[i])]
			if err == nil && got != want {
				err = fmt.Errorf("%s has the digest %q and should have %q by %s: %w: copy it again", a.parts.names[i], got, want, a.parts.stem+sumsSuffix, registry.ErrCorrupt)
			}
			errs[i] = err
			return nil
		})
	}
	return errors.Join(all.Wait(), errors.Join(errs...))
}

func (a *Archive) verifyBlobs(ctx context.Context) error {
	errs := make([]error, len(a.meta.Contents))
	var all errgroup.Group
	all.SetLimit(4)
	for i, c := range a.meta.Contents {
		all.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			body, err := a.Blob(ctx, "", ocispec.Descriptor{Digest: c.Digest, Size: c.Size})
			if err == nil {
				_, err = io.Copy(io.Discard, body)
			}
			errs[i] = err
			return nil
		})
	}
	return errors.Join(all.Wait(), errors.Join(errs...))
}
