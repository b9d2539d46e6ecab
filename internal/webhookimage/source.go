// SPDX-License-Identifier: Apache-2.0

// Package webhookimage makes the webhook's own image a source of the mirror, like a
// registry. A program that is built with the tag webhookimage carries the image, as an
// OCI layout for all platforms, so that it can be mirrored without a checkout, a
// container engine or a registry that publishes it.
//
// References to the image have a host that no registry has. Lock files, archives and
// reports have the image under such a reference.
package webhookimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Host is the host of references to images that the program carries. It is not a
// registry.
const Host = "privatelink.cast.ai"

// Repository is the repository of the webhook's image.
const Repository = Host + "/privatelink-webhook"

// IsCarried reports whether a reference or a repository is that of an image that only
// the program can have.
func IsCarried(ref string) bool { return rewrite.RegistryHost(ref) == Host }

// ErrNotCarried is the error of a program that was built without the image.
var ErrNotCarried = errors.New("this privatelink was built without the webhook's image: use a released privatelink or build one with `make build-release`, name a registry that has the image with --webhook-image, or leave it out with --no-webhook-image")

// Source reads images of Host from an OCI layout, and all others from registries. It is
// safe for concurrent use if the source of the registries is.
type Source struct {
	registries mirror.Source
	open       func() (*oci.ReadOnlyStore, error)
}

var _ mirror.Source = (*Source)(nil)

// NewSource returns a source with the images of a layout, which may be nil, and of
// registries. The layout is read when it is first needed.
func NewSource(registries mirror.Source, layout fs.FS) *Source {
	return &Source{registries, sync.OnceValues(func() (*oci.ReadOnlyStore, error) {
		if layout == nil {
			return nil, ErrNotCarried
		}
		store, err := oci.NewFromFS(context.Background(), layout)
		if err != nil {
			return nil, fmt.Errorf("the webhook's image in this privatelink is damaged: %w: download privatelink again", err)
		}
		return store, nil
	})}
}

// Resolve returns the descriptor of a tag or digest.
func (s *Source) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	if !IsCarried(repository) {
		return s.registries.Resolve(ctx, repository, tagOrDigest)
	}
	store, err := s.open()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := store.Resolve(ctx, tagOrDigest)
	if repository != Repository || errors.Is(err, errdef.ErrNotFound) {
		return ocispec.Descriptor{}, notFound(ctx, store, repository, tagOrDigest)
	}
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, err
}

// notFound names what the program carries instead.
func notFound(ctx context.Context, store *oci.ReadOnlyStore, repository, tagOrDigest string) error {
	var carried []string
	_ = store.Tags(ctx, "", func(tags []string) error { // fails if the function does
		for _, tag := range tags {
			if d, err := store.Resolve(ctx, tag); err == nil {
				carried = append(carried, fmt.Sprintf("%s:%s, which is %s", Repository, tag, d.Digest))
			}
		}
		return nil
	})
	separator := ":"
	if strings.Contains(tagOrDigest, ":") {
		separator = "@"
	}
	return fmt.Errorf("%s%s%s: %w: this privatelink carries %s: use the privatelink that wrote the lock file, or take this image with --update",
		repository, separator, tagOrDigest, registry.ErrNotFound, strings.Join(carried, " and "))
}

// Manifest returns a manifest and verifies its digest.
func (s *Source) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	if !IsCarried(repository) {
		return s.registries.Manifest(ctx, repository, d)
	}
	store, err := s.open()
	if err != nil {
		return nil, err
	}
	text, err := content.FetchAll(ctx, store, d)
	return text, classify(err)
}

// Blob opens a blob. The last read fails with registry.ErrCorrupt if the content does
// not have the digest.
func (s *Source) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	if !IsCarried(repository) {
		return s.registries.Blob(ctx, repository, d)
	}
	store, err := s.open()
	if err != nil {
		return nil, err
	}
	found, err := store.Resolve(ctx, d.Digest.String())
	if err != nil {
		return nil, classify(err)
	}
	if found.Size != d.Size {
		return nil, fmt.Errorf("%s@%s has %d bytes and should have %d: %w", repository, d.Digest, found.Size, d.Size, registry.ErrCorrupt)
	}
	body, err := store.Fetch(ctx, d)
	if err != nil {
		return nil, classify(err)
	}
	return registry.Verified(body, d), nil
}

// HasBlob reports whether a blob exists.
func (s *Source) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	if !IsCarried(repository) {
		return s.registries.HasBlob(ctx, repository, d)
	}
	store, err := s.open()
	if err != nil {
		return false, err
	}
	return store.Exists(ctx, d)
}

// Referrers lists what refers to a manifest. The program carries no signatures: an image
// is signed after the program is built.
func (s *Source) Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if !IsCarried(repository) {
		return s.registries.Referrers(ctx, repository, d)
	}
	return nil, nil
}

// classify adds the class of the errors of package registry; nil stays nil.
func classify(err error) error {
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("%w: %w", registry.ErrNotFound, err)
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", registry.ErrCorrupt, err)
	}
	return err
}
