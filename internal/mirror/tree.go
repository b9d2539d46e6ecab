// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// node is a manifest or an index, with all manifests below it.
type node struct {
	desc     ocispec.Descriptor
	raw      []byte
	children []*node              // of an index
	blobs    []ocispec.Descriptor // configuration and layers
}

// document has the fields of manifests and indexes, of OCI and of Docker.
type document struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Blobs     []ocispec.Descriptor `json:"blobs"` // of an artifact manifest, OCI 1.1 rc
	Manifests []ocispec.Descriptor `json:"manifests"`
}

const (
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	ociArtifact    = "application/vnd.oci.artifact.manifest.v1+json"
)

// IsIndex reports whether a media type is that of an index, of OCI or of Docker.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

func isManifest(mediaType string) bool {
	return IsIndex(mediaType) || mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest || mediaType == ociArtifact
}

// maxDepth bounds the nesting of indexes. Published images have one level.
const maxDepth = 4

// readTree reads a manifest and all manifests below it. Only the root, at depth 0, is
// reduced to the platforms of the mirror.
func (m *Mirror) readTree(ctx context.Context, repository string, d ocispec.Descriptor, depth int) (*node, error) {
	if !isManifest(d.MediaType) {
		return nil, fmt.Errorf("%s@%s has the unsupported media type %q: ask the publisher for an OCI or Docker schema 2 image", repository, d.Digest, d.MediaType)
	}
	raw, err := m.Source.Manifest(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	n := &node{desc: d, raw: raw}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s@%s is not a manifest: %w", repository, d.Digest, err)
	}
	if depth == 0 && IsIndex(d.MediaType) && len(m.Platforms) > 0 {
		if n, doc.Manifests, err = filterPlatforms(n, doc.Manifests, m.Platforms); err != nil {
			return nil, fmt.Errorf("%s: %w", repository, err)
		}
	}
	manifests, blobs := doc.references()
	if n.blobs, err = storedBlobs(blobs); err != nil {
		return nil, fmt.Errorf("%s@%s: %w", repository, n.desc.Digest, err)
	}
	if depth >= maxDepth && len(manifests) > 0 {
		return nil, fmt.Errorf("%s@%s: indexes are nested more than %d levels deep", repository, n.desc.Digest, maxDepth)
	}
	n.children = make([]*node, len(manifests))
	all, ctx := errgroup.WithContext(ctx)
	for i, child := range manifests {
		all.Go(func() (err error) {
			n.children[i], err = m.readTree(ctx, repository, child, depth+1)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return n, nil
}

// references returns what a document names. An index may name blobs, too.
func (doc document) references() (manifests, blobs []ocispec.Descriptor) {
	blobs = slices.Concat(doc.Layers, doc.Blobs)
	if doc.Config != nil {
		blobs = append(blobs, *doc.Config)
	}
	for _, d := range doc.Manifests {
		if isManifest(d.MediaType) {
			manifests = append(manifests, d)
		} else {
			blobs = append(blobs, d)
		}
	}
	return manifests, blobs
}

// storedBlobs returns the blobs that registries store.
func storedBlobs(blobs []ocispec.Descriptor) (stored []ocispec.Descriptor, err error) {
	for _, d := range blobs {
		if isForeign(d) {
			continue
		}
		if d.Digest.Validate() != nil || d.Size < 0 {
			return nil, fmt.Errorf("invalid blob %q of %d bytes", d.Digest, d.Size)
		}
		stored = append(stored, d)
	}
	return stored, nil
}

// isForeign reports whether a layer is kept outside of registries, for its license.
func isForeign(d ocispec.Descriptor) bool {
	return strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign.")
}

// platforms lists the platforms of an index, sorted. For a manifest it is empty,
// because only the configuration has the platform.
func (n *node) platforms() []string {
	var doc document
	if json.Unmarshal(n.raw, &doc) != nil {
		return nil
	}
	var all []string
	for _, d := range doc.Manifests {
		if p := platformOf(d); p != "" {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// walk calls f for all nodes of a tree, children first.
func (n *node) walk(f func(*node)) {
	for _, c := range n.children {
		c.walk(f)
	}
	f(n)
}

// totalSize returns the size of a tree in bytes. Each manifest and blob counts once.
func (n *node) totalSize() (total int64) {
	seen := map[digest.Digest]bool{}
	count := func(d ocispec.Descriptor) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			total += d.Size
		}
	}
	n.walk(func(n *node) {
		count(n.desc)
		for _, b := range n.blobs {
			count(b)
		}
	})
	return total
}
