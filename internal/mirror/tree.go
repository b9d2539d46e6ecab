// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// Bounds of the tree of one image, and of all its referrers together. They keep a
// hostile registry from exhausting memory and requests, and are far above what
// publishers need.
const (
	// maxDepth bounds the nesting of indexes and of referrers. Published images have
	// one level of indexes, and signatures of attestations one of referrers.
	maxDepth = 4
	// maxManifests bounds the manifests. An image for 20 platforms with attestations has
	// 41.
	maxManifests = 1000
	// maxTreeSize bounds the bytes of all manifests, which are kept in memory during a
	// run. A manifest of 100 layers has 20 KiB.
	maxTreeSize = 32 << 20
	// maxConcurrentReads bounds the concurrent requests for manifests.
	maxConcurrentReads = 8
)

// node is a manifest or an index, with all manifests below it.
type node struct {
	desc     ocispec.Descriptor
	raw      []byte
	children []*node              // of an index
	blobs    []ocispec.Descriptor // configuration and layers
	external []ocispec.Descriptor // layers that the source does not store
	// filtered reports whether platforms were left out, so that the source does not have
	// the digest.
	filtered bool
}

// treeReader reads the manifests of one image, each once. It is safe for concurrent
// use.
type treeReader struct {
	source     Source
	repository string
	platforms  []string // that are kept; empty for all
	slots      chan struct{}

	mu    sync.Mutex
	nodes map[digest.Digest]func() (*node, error)
	size  int64
}

func newTreeReader(source Source, repository string, platforms []string) *treeReader {
	return &treeReader{source: source, repository: repository, platforms: platforms,
		slots: make(chan struct{}, maxConcurrentReads), nodes: map[digest.Digest]func() (*node, error){}}
}

// readTree reads an image, reduced to the platforms of the mirror.
func (m *Mirror) readTree(ctx context.Context, repository string, d ocispec.Descriptor) (*node, error) {
	return newTreeReader(m.Source, repository, m.Platforms).read(ctx, d, 0)
}

// read reads a manifest and all manifests below it.
func (r *treeReader) read(ctx context.Context, d ocispec.Descriptor, depth int) (*node, error) {
	read, err := r.reserve(d, func() (*node, error) { return r.readNew(ctx, d, depth) })
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", r.repository, d.Digest, err)
	}
	return read()
}

// reserve returns the function that reads a manifest: another one, if the manifest is
// read already.
func (r *treeReader) reserve(d ocispec.Descriptor, readNew func() (*node, error)) (func() (*node, error), error) {
	if err := checkManifest(d); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if read, ok := r.nodes[d.Digest]; ok {
		return read, nil
	}
	if len(r.nodes) >= maxManifests {
		return nil, fmt.Errorf("the image has more than %d manifests", maxManifests)
	}
	read := sync.OnceValues(readNew)
	r.nodes[d.Digest] = read
	return read, nil
}

func (r *treeReader) readNew(ctx context.Context, d ocispec.Descriptor, depth int) (*node, error) {
	raw, err := r.fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	d.Size = int64(len(raw)) // that of the root comes from a header
	var n *node
	if err = r.addSize(d.Size); err == nil {
		n, err = r.parse(ctx, d, raw, depth)
	}
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w", r.repository, d.Digest, err)
	}
	return n, nil
}

// addSize counts the bytes of a manifest.
func (r *treeReader) addSize(size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size += size; size > maxManifestSize || r.size > maxTreeSize {
		return fmt.Errorf("the image has a manifest of more than %d MiB, or manifests of more than %d MiB together", maxManifestSize>>20, maxTreeSize>>20)
	}
	return nil
}

// parse returns the node of a manifest, and reads all manifests below it.
func (r *treeReader) parse(ctx context.Context, d ocispec.Descriptor, raw []byte, depth int) (*node, error) {
	doc, err := parseDocument(d.MediaType, raw)
	if err != nil {
		return nil, err
	}
	if depth >= maxDepth && len(doc.manifests) > 0 {
		return nil, fmt.Errorf("indexes are nested more than %d levels deep", maxDepth)
	}
	n := &node{desc: d, raw: raw}
	if len(r.platforms) > 0 && IsIndex(d.MediaType) {
		if n, doc, err = r.filter(ctx, n, doc, depth); err != nil {
			return nil, err
		}
	}
	if n.children, err = r.readAll(ctx, doc.children(), depth+1); err != nil {
		return nil, err
	}
	if n.blobs, n.external, err = r.splitBlobs(ctx, doc.blobs()); err != nil {
		return nil, err
	}
	return n, nil
}

// fetch reads the content of a manifest.
func (r *treeReader) fetch(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	return r.source.Manifest(ctx, r.repository, d)
}

// readAll reads manifests concurrently. It does not stop at the first error, because
// another index may need the manifests that are being read.
func (r *treeReader) readAll(ctx context.Context, descriptors []ocispec.Descriptor, depth int) ([]*node, error) {
	nodes := make([]*node, len(descriptors))
	var all errgroup.Group
	for i, d := range descriptors {
		all.Go(func() (err error) {
			nodes[i], err = r.read(ctx, d, depth)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return nodes, nil
}

// splitBlobs separates the layers that the source does not store. Only layers of a
// foreign type, which have a URL, may be such.
func (r *treeReader) splitBlobs(ctx context.Context, blobs []ocispec.Descriptor) (stored, external []ocispec.Descriptor, err error) {
	for _, d := range blobs {
		exists := true
		if isForeign(d) && len(d.URLs) > 0 {
			if exists, err = r.source.HasBlob(ctx, r.repository, d); registry.Retryable(err) || ctx.Err() != nil {
				return nil, nil, err
			}
		}
		if exists {
			stored = append(stored, d)
		} else {
			external = append(external, d)
		}
	}
	return stored, external, nil
}

// isForeign reports whether a layer may be kept outside of registries, for its
// license. Such types are deprecated, and registries store them by now.
// https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers
func isForeign(d ocispec.Descriptor) bool {
	return strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign.")
}

// listPlatforms lists the platforms of an index, sorted. For a manifest it is empty,
// because only the configuration has the platform.
func (n *node) listPlatforms() (all []string) {
	n.walk(func(n *node) {
		doc, err := parseDocument(n.desc.MediaType, n.raw)
		if err != nil {
			return
		}
		for _, d := range doc.manifests {
			if p := platformOf(d.Platform); p != "" {
				all = append(all, p)
			}
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// walk calls f for all nodes of a tree, children first, and once for each.
func (n *node) walk(f func(*node)) { n.walkNew(map[digest.Digest]bool{}, f) }

// walkNew is walk without the nodes in seen, to which it adds all others.
func (n *node) walkNew(seen map[digest.Digest]bool, f func(*node)) {
	if seen[n.desc.Digest] {
		return
	}
	seen[n.desc.Digest] = true
	for _, c := range n.children {
		c.walkNew(seen, f)
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
