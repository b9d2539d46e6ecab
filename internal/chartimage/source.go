// SPDX-License-Identifier: Apache-2.0

package chartimage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Source reads charts from their repository, and images from registries. It is safe for
// concurrent use if the source of the registries is.
type Source struct {
	registries mirror.Source
	cache      chart.Cache
	charts     map[string][]*published // by repository, such as Host/castai-agent
}

var _ mirror.Source = (*Source)(nil)

// published is a version of a chart that a repository has.
type published struct {
	chart.Version
	tag string

	reading  sync.Mutex
	artifact atomic.Pointer[Artifact] // without the content; nil while it was not read
}

// NewSource returns a source with the charts of the jobs that have one, and of registries.
// A chart is fetched when it is first needed, and kept in the cache.
func NewSource(registries mirror.Source, jobs []mirror.Job, cache chart.Cache) *Source {
	s := &Source{registries: registries, cache: cache, charts: map[string][]*published{}}
	for _, j := range jobs {
		if j.Chart == nil || !IsChart(j.Source) {
			continue
		}
		ref := rewrite.SplitReference(j.Source)
		name, version := parse(j.Source)
		v := chart.Version{Chart: name, Version: version, URL: j.Chart.URL, Digest: j.Chart.Digest.Encoded()}
		s.charts[ref.Repository] = append(s.charts[ref.Repository], &published{Version: v, tag: ref.Tag})
	}
	return s
}

// read returns the artifact of a chart, without its content. An error is not kept: the
// next call tries again.
func (s *Source) read(ctx context.Context, p *published) (*Artifact, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if a := p.artifact.Load(); a != nil {
		return a, nil
	}
	archive, err := s.cache.Fetch(ctx, p.Version)
	if err != nil {
		return nil, err
	}
	metadata, err := archive.ReadMetadata()
	if err != nil {
		return nil, err
	}
	a, err := newArtifact(metadata, archive.Data)
	if err != nil {
		return nil, err
	}
	a.Content.Data = nil
	p.artifact.Store(&a)
	return &a, nil
}

// find returns the chart whose artifact, or any part of it, is meant. Those that were read
// are searched first, so that one that cannot be is not fetched for each other. Charts that
// cannot be read are passed over, unless that leaves none.
func (s *Source) find(ctx context.Context, repository string, isMeant func(*published, *Artifact) bool) (*published, *Artifact, error) {
	for _, p := range s.charts[repository] {
		if a := p.artifact.Load(); a != nil && isMeant(p, a) {
			return p, a, nil
		}
	}
	var failure error
	for _, p := range s.charts[repository] {
		a, err := s.read(ctx, p)
		switch {
		case err != nil:
			failure = err
		case isMeant(p, a):
			return p, a, nil
		}
	}
	return nil, nil, failure
}

// Resolve returns the descriptor of a tag or digest.
func (s *Source) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	if !IsChart(repository) {
		return s.registries.Resolve(ctx, repository, tagOrDigest)
	}
	for _, p := range s.charts[repository] {
		if p.tag == tagOrDigest {
			a, err := s.read(ctx, p)
			if err != nil {
				return ocispec.Descriptor{}, err
			}
			return a.Descriptor, nil
		}
	}
	if !strings.Contains(tagOrDigest, ":") { // another tag, such as that of signatures
		return ocispec.Descriptor{}, notFound(repository, tagOrDigest)
	}
	_, a, err := s.find(ctx, repository, func(_ *published, a *Artifact) bool { return a.Descriptor.Digest.String() == tagOrDigest })
	switch {
	case err != nil:
		return ocispec.Descriptor{}, err
	case a == nil:
		return ocispec.Descriptor{}, notFound(repository, tagOrDigest)
	}
	return a.Descriptor, nil
}

func notFound(repository, what string) error {
	return fmt.Errorf("%s has no %s: %w", repository, what, registry.ErrNotFound)
}

// Manifest returns the manifest of a chart.
func (s *Source) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	if !IsChart(repository) {
		return s.registries.Manifest(ctx, repository, d)
	}
	_, a, err := s.find(ctx, repository, func(_ *published, a *Artifact) bool { return a.Descriptor.Digest == d.Digest })
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return nil, notFound(repository, d.Digest.String())
	}
	return a.Manifest, nil
}

// Blob opens the configuration or the content of a chart. The last read fails with
// registry.ErrCorrupt if it does not have the digest.
func (s *Source) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	if !IsChart(repository) {
		return s.registries.Blob(ctx, repository, d)
	}
	p, a, err := s.find(ctx, repository, hasBlob(d))
	switch {
	case err != nil:
		return nil, err
	case a == nil:
		return nil, notFound(repository, d.Digest.String())
	}
	data := a.Config.Data
	if a.Content.Descriptor.Digest == d.Digest {
		archive, err := s.cache.Fetch(ctx, p.Version)
		if err != nil {
			return nil, err
		}
		data = archive.Data
	}
	return registry.Verified(io.NopCloser(bytes.NewReader(data)), d), nil
}

func hasBlob(d ocispec.Descriptor) func(*published, *Artifact) bool {
	return func(_ *published, a *Artifact) bool {
		return a.Config.Descriptor.Digest == d.Digest || a.Content.Descriptor.Digest == d.Digest
	}
}

// HasBlob reports whether a blob exists.
func (s *Source) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	if !IsChart(repository) {
		return s.registries.HasBlob(ctx, repository, d)
	}
	_, a, err := s.find(ctx, repository, hasBlob(d))
	return a != nil, err
}

// Referrers lists what refers to a manifest. A repository of charts has no signatures that
// a registry could list.
func (s *Source) Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if !IsChart(repository) {
		return s.registries.Referrers(ctx, repository, d)
	}
	return nil, nil
}
