// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror"
)

// block is the unit of a tar.
const block = 512

// entry is one file of the tar: a text, or a blob that has to be fetched.
type entry struct {
	name   string
	size   int64
	text   []byte
	blob   *mirror.Blob
	header []byte
	offset int64 // of the header
}

// contentOffset is the offset of the content.
func (e *entry) contentOffset() int64 { return e.offset + int64(len(e.header)) }

// padding is the number of zero bytes that fill the last block.
func (e *entry) padding() int64 { return -e.size & (block - 1) }

// layout is the offsets of all entries of the tar.
type layout struct {
	entries []*entry
	size    int64
}

// newLayout computes the header and the offset of each entry.
func newLayout(entries []*entry) (*layout, error) {
	l := &layout{entries: entries}
	for _, e := range entries {
		var b bytes.Buffer
		// No user and no time, so that the same content gives the same bytes.
		if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: e.size, Mode: 0o644}); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		e.header, e.offset = b.Bytes(), l.size
		l.size = e.contentOffset() + e.size + e.padding()
	}
	l.size += 2 * block // two empty blocks are the end
	return l, nil
}

// planLayout returns the layout of a content, without the blobs that the target is
// assumed to have.
func planLayout(c *mirror.Content, assumed *assumption) (*layout, error) {
	blobs := contentEntries(c, assumed)
	m := meta{Version: version, Contents: []contentInfo{}, Referrers: referrers(c), SignatureTags: c.SignatureTags, Assumes: assumed}
	for _, e := range blobs {
		d, _ := blobDigest(e.name)
		m.Contents = append(m.Contents, contentInfo{d, e.size})
	}
	index, err := index(c)
	if err != nil {
		return nil, err
	}
	locked, err := c.Lock.Marshal()
	if err != nil {
		return nil, err
	}
	texts := []*entry{
		textEntry(layoutEntry, marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})),
		textEntry(indexEntry, marshal(index)),
		textEntry(lockEntry, locked),
		textEntry(metaEntry, marshal(m)),
	}
	var sums strings.Builder
	for _, e := range texts {
		fmt.Fprintf(&sums, "%s  %s\n", digest.FromBytes(e.text).Encoded(), e.name)
	}
	return newLayout(slices.Concat(texts, []*entry{textEntry(sumsEntry, []byte(sums.String()))}, blobs))
}

func textEntry(name string, text []byte) *entry {
	return &entry{name: name, size: int64(len(text)), text: text}
}

// marshal encodes types of this package and of the OCI specification, for which
// encoding cannot fail.
func marshal(v any) []byte {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(text, '\n')
}

// contentEntries returns the manifests and then the blobs, each sorted by digest. The
// plan of an import reads only the manifests, which are close together.
func contentEntries(c *mirror.Content, assumed *assumption) (all []*entry) {
	seen := map[digest.Digest]bool{}
	if assumed != nil {
		for _, b := range assumed.Blobs {
			seen[b.Digest] = true
		}
	}
	manifests := slices.SortedFunc(slices.Values(c.Manifests), func(a, b mirror.Manifest) int {
		return cmp.Compare(a.Descriptor.Digest, b.Descriptor.Digest)
	})
	for _, m := range manifests {
		all = append(all, textEntry(blobEntry(m.Descriptor.Digest), m.Raw))
		seen[m.Descriptor.Digest] = true
	}
	blobs := slices.SortedFunc(slices.Values(c.Blobs), func(a, b mirror.Blob) int {
		return cmp.Compare(a.Descriptor.Digest, b.Descriptor.Digest)
	})
	for i, b := range blobs {
		if d := b.Descriptor; !seen[d.Digest] {
			seen[d.Digest] = true
			all = append(all, &entry{name: blobEntry(d.Digest), size: d.Size, blob: &blobs[i]})
		}
	}
	return all
}

// index returns index.json: the images with their source as name, and referrers
// without a name, so that other tools find them.
func index(c *mirror.Content) (ocispec.Index, error) {
	sizes := map[digest.Digest]int64{}
	for _, m := range c.Manifests {
		sizes[m.Descriptor.Digest] = m.Descriptor.Size
	}
	i := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	named := map[string]digest.Digest{}
	for _, image := range c.Lock.Images {
		n, ok := sizes[image.Digest]
		if !ok {
			return i, fmt.Errorf("%s: the content does not have its manifest %s", image.Source, image.Digest)
		}
		if other, twice := named[image.Source]; twice && other == image.Digest {
			continue
		} else if twice {
			return i, fmt.Errorf("%s has the digests %s and %s: list it once", image.Source, other, image.Digest)
		}
		named[image.Source] = image.Digest
		i.Manifests = append(i.Manifests, ocispec.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: n,
			Annotations: map[string]string{ocispec.AnnotationRefName: image.Source}})
	}
	var others []ocispec.Descriptor
	for _, list := range c.Referrers {
		others = append(others, list...)
	}
	for _, d := range c.SignatureTags {
		others = append(others, d)
	}
	slices.SortFunc(others, byDigest)
	others = slices.CompactFunc(others, func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest })
	for _, d := range others {
		i.Manifests = append(i.Manifests, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType})
	}
	slices.SortStableFunc(i.Manifests, func(a, b ocispec.Descriptor) int {
		x, y := a.Annotations[ocispec.AnnotationRefName], b.Annotations[ocispec.AnnotationRefName]
		return cmp.Or(-cmp.Compare(min(len(x), 1), min(len(y), 1)), cmp.Compare(x, y))
	})
	return i, nil
}

// referrers returns the referrers sorted, because a registry may list them in any order.
func referrers(c *mirror.Content) map[digest.Digest][]ocispec.Descriptor {
	sorted := map[digest.Digest][]ocispec.Descriptor{}
	for subject, list := range c.Referrers {
		sorted[subject] = slices.SortedFunc(slices.Values(list), byDigest)
	}
	return sorted
}

func byDigest(a, b ocispec.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) }
