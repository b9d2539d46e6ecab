// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// node is a manifest or an index, with all that is below it.
type node struct {
	desc     ocispec.Descriptor
	text     []byte
	children []*node              // of an index
	blobs    []ocispec.Descriptor // configuration and layers
}

// document has the fields of manifests and indexes, of OCI and of Docker.
type document struct {
	MediaType string               `json:"mediaType"`
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

// IsIndex tells of the media types of indexes, of OCI and of Docker.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

func isManifest(mediaType string) bool {
	return IsIndex(mediaType) || mediaType == ocispec.MediaTypeImageManifest || mediaType == dockerManifest || mediaType == ociArtifact
}

// maxDepth bounds how deep indexes nest. Real ones have one level.
const maxDepth = 4

// tree reads a manifest and all below it. Without platforms nothing is left out.
func (m *Mirror) tree(ctx context.Context, repository string, d ocispec.Descriptor, depth int) (*node, error) {
	if !isManifest(d.MediaType) {
		return nil, fmt.Errorf("%s@%s has the media type %q, which is no image that registries still take; ask its publisher for an OCI or Docker schema 2 image", repository, d.Digest, d.MediaType)
	}
	text, err := m.Source.Manifest(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	return m.below(ctx, repository, &node{desc: d, text: text}, depth)
}

// below fills in what is below a manifest that was read.
func (m *Mirror) below(ctx context.Context, repository string, n *node, depth int) (*node, error) {
	var doc document
	if err := json.Unmarshal(n.text, &doc); err != nil {
		return nil, fmt.Errorf("%s@%s is no manifest: %w", repository, n.desc.Digest, err)
	}
	if depth == 0 && IsIndex(n.desc.MediaType) && len(m.Platforms) > 0 {
		var err error
		if n, doc.Manifests, err = keep(n, doc.Manifests, m.Platforms); err != nil {
			return nil, fmt.Errorf("%s: %w", repository, err)
		}
	}
	blobs := slices.Concat(doc.Layers, doc.Blobs)
	if doc.Config != nil {
		blobs = append(blobs, *doc.Config)
	}
	var below []ocispec.Descriptor
	for _, d := range doc.Manifests {
		if isManifest(d.MediaType) {
			below = append(below, d)
		} else {
			blobs = append(blobs, d)
		}
	}
	for _, d := range blobs {
		switch err := d.Digest.Validate(); {
		case foreign(d):
			continue // registries do not store it
		case err != nil || d.Size < 0:
			return nil, fmt.Errorf("%s@%s names a blob %q of %d bytes, which cannot be", repository, n.desc.Digest, d.Digest, d.Size)
		}
		n.blobs = append(n.blobs, d)
	}
	if depth >= maxDepth && len(below) > 0 {
		return nil, fmt.Errorf("%s@%s: indexes nest deeper than %d levels", repository, n.desc.Digest, maxDepth)
	}
	n.children = make([]*node, len(below))
	all, ctx := errgroup.WithContext(ctx)
	for i, d := range below {
		all.Go(func() (err error) {
			n.children[i], err = m.tree(ctx, repository, d, depth+1)
			return err
		})
	}
	return n, all.Wait()
}

// foreign layers lie elsewhere, by their license.
func foreign(d ocispec.Descriptor) bool {
	return strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign.")
}

// annotation by which BuildKit ties an attestation to its image.
const attests = "vnd.docker.reference.digest"

// keep returns an index with some platforms only. Attestations stay with their
// images.
func keep(n *node, manifests []ocispec.Descriptor, platforms []string) (*node, []ocispec.Descriptor, error) {
	kept := map[digest.Digest]bool{}
	var offered []string
	for _, d := range manifests {
		if p := platform(d); p != "" {
			offered = append(offered, p)
			kept[d.Digest] = slices.ContainsFunc(platforms, func(want string) bool { return p == want || strings.HasPrefix(p, want+"/") })
		}
	}
	stays := func(d ocispec.Descriptor) bool {
		if of, ok := d.Annotations[attests]; ok {
			return kept[digest.Digest(of)]
		}
		return kept[d.Digest]
	}
	var rest []ocispec.Descriptor
	for _, d := range manifests {
		if stays(d) {
			rest = append(rest, d)
		}
	}
	switch {
	case len(rest) == len(manifests):
		return n, manifests, nil
	case len(rest) == 0:
		return nil, nil, fmt.Errorf("it has none of the platforms %s, only %s", strings.Join(platforms, ", "), strings.Join(offered, ", "))
	}
	text, err := without(n.text, func(i int) bool { return stays(manifests[i]) })
	if err != nil {
		return nil, nil, err
	}
	d := n.desc
	d.Digest, d.Size = digest.FromBytes(text), int64(len(text))
	return &node{desc: d, text: text}, rest, nil
}

// without removes entries of an index and keeps every other byte of its fields.
func without(text []byte, stays func(int) bool) ([]byte, error) {
	var index map[string]json.RawMessage
	var entries, rest []json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &index), json.Unmarshal(index["manifests"], &entries)); err != nil {
		return nil, err
	}
	for i, e := range entries {
		if stays(i) {
			rest = append(rest, e)
		}
	}
	var err error
	if index["manifests"], err = json.Marshal(rest); err != nil {
		return nil, err
	}
	return json.Marshal(index)
}

// platform is "linux/arm64/v8", or "" for what is no image, as attestations.
func platform(d ocispec.Descriptor) string {
	if d.Platform == nil || d.Platform.OS == "unknown" {
		return ""
	}
	return strings.TrimSuffix(d.Platform.OS+"/"+d.Platform.Architecture+"/"+d.Platform.Variant, "/")
}

// platforms lists those of a tree. One that is no index says it in its
// configuration, which is not read for that.
func (n *node) platforms() []string {
	var doc document
	if json.Unmarshal(n.text, &doc) != nil {
		return nil
	}
	var all []string
	for _, d := range doc.Manifests {
		if p := platform(d); p != "" {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// walk calls f for a node and all below it, the deepest first.
func (n *node) walk(f func(*node)) {
	for _, c := range n.children {
		c.walk(f)
	}
	f(n)
}

// size counts each manifest and blob once.
func (n *node) size() (total int64) {
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

// referrer is a manifest that says something about another.
type referrer struct {
	*node
	subject digest.Digest // what it is about
	tag     string        // of a signature that is found by the name of its tag
}

// referrers reads what refers to a tree, and what refers to that.
func (m *Mirror) referrers(ctx context.Context, repository string, n *node) ([]referrer, error) {
	var subjects []ocispec.Descriptor
	n.walk(func(n *node) { subjects = append(subjects, n.desc) })
	found := make([][]referrer, len(subjects))
	all, ctx := errgroup.WithContext(ctx)
	for i, d := range subjects {
		all.Go(func() (err error) {
			found[i], err = m.referrersOf(ctx, repository, d, 0)
			return err
		})
	}
	tagged := make([]*referrer, len(signatureTags))
	for i, suffix := range signatureTags {
		all.Go(func() (err error) {
			tagged[i], err = m.tagged(ctx, repository, strings.Replace(n.desc.Digest.String(), ":", "-", 1)+suffix)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	flat := slices.Concat(found...)
	for _, t := range tagged {
		if t != nil {
			flat = append(flat, *t)
		}
	}
	return flat, nil
}

// signatureTags are what cosign 2 appends to a digest to name a tag.
var signatureTags = []string{".sig", ".att", ".sbom"}

func (m *Mirror) referrersOf(ctx context.Context, repository string, d ocispec.Descriptor, depth int) ([]referrer, error) {
	list, err := m.Source.Referrers(ctx, repository, d)
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrUnsupported):
		return nil, nil // a registry that has none
	case err != nil:
		return nil, err
	}
	var all []referrer
	for _, r := range list {
		n, err := m.tree(ctx, repository, r, 1)
		if err != nil {
			return nil, err
		}
		all = append(all, referrer{node: n, subject: d.Digest})
		if depth < maxDepth {
			deeper, err := m.referrersOf(ctx, repository, r, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, deeper...)
		}
	}
	return all, nil
}

func (m *Mirror) tagged(ctx context.Context, repository, tag string) (*referrer, error) {
	d, err := m.Source.Resolve(ctx, repository, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := m.tree(ctx, repository, d, 1)
	if err != nil {
		return nil, err
	}
	return &referrer{node: n, tag: tag}, nil
}
