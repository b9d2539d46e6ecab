// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Limits of an archive, far above those of real ones. They bound the cost of a broken
// or hostile file.
const (
	maxText     = 16 << 20 // of an entry that is not a blob
	maxManifest = 8 << 20  // the OCI specification asks registries for 4 MiB
	maxEntries  = 100_000
	maxSize     = 1 << 50 // of a blob, so that sums of offsets do not overflow
)

// Archive is an opened archive. As a mirror.Source it is safe for concurrent use.
type Archive struct {
	parts   *parts
	entries map[string]region
	meta    meta
	lock    *lock.Lock
	images  map[imageName]ocispec.Descriptor     // in index.json
	known   map[digest.Digest]ocispec.Descriptor // manifests whose media type is known
}

type imageName struct{ repository, tagOrDigest string }

// region is the content of an entry.
type region struct{ offset, size int64 }

// Open opens an archive, given its name. A split archive is opened by its name or that
// of any part; all parts have to be in one directory.
//
// Open checks all headers and descriptions. Layers are checked when they are read, or
// by Verify. Errors name the file and the position of what is missing, truncated,
// changed or not part of the format.
func Open(path string) (*Archive, error) {
	p, err := openParts(path)
	if err != nil {
		return nil, err
	}
	a := &Archive{parts: p, entries: map[string]region{}}
	if err := a.readIndex(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return a, nil
}

// Close closes the files.
func (a *Archive) Close() error { return a.parts.Close() }

// Lock returns the lock of the images in the archive.
func (a *Archive) Lock() *lock.Lock { return a.lock }

// IsDelta reports whether blobs were left out that the target is expected to have.
func (a *Archive) IsDelta() bool { return a.meta.Assumes != nil }

// recopyAdvice is the remedy for an archive that was damaged.
const recopyAdvice = "copy the archive again, and compare the copy with sha256sum -c"

// readIndex reads and checks everything but the blobs. A truncated archive is described
// as precisely as the entries allow that were read.
func (a *Archive) readIndex() error {
	headerErr := a.readHeaders()
	if _, ok := a.entries[metaEntry]; !ok {
		if headerErr != nil {
			return headerErr
		}
		return fmt.Errorf("%s was not written by `privatelink export`, or is truncated: it has no %s: %s", a.parts.names[0], metaEntry, recopyAdvice)
	}
	if err := a.readDescription(); err != nil {
		return errors.Join(headerErr, err)
	}
	if err := a.checkComplete(); err != nil {
		return err
	}
	if headerErr != nil {
		return headerErr
	}
	return a.checkConsistent()
}

// compressions are the first bytes of compressed files, and the programs that
// decompress them.
var compressions = []struct{ magic, format, program string }{
	{"\x1f\x8b", "gzip", "gunzip"},
	{"\x28\xb5\x2f\xfd", "Zstandard", "unzstd"},
	{"\xfd7zXZ\x00", "xz", "unxz"},
	{"BZh", "bzip2", "bunzip2"},
}

// checkCompression returns an error for a compressed archive, whose blobs cannot be
// read one by one.
func (a *Archive) checkCompression() error {
	begin := make([]byte, 8)
	n, err := a.parts.ReadAt(begin, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, c := range compressions {
		if strings.HasPrefix(string(begin[:n]), c.magic) {
			return fmt.Errorf("%s is not an archive of `privatelink export` as it was written: it is compressed with %s, decompress it with %s", a.parts.names[0], c.format, c.program)
		}
	}
	return nil
}

// readHeaders finds all entries.
func (a *Archive) readHeaders() error {
	if err := a.checkCompression(); err != nil {
		return err
	}
	section := io.NewSectionReader(a.parts, 0, a.parts.size)
	t := tar.NewReader(section)
	for count := 0; ; count++ {
		begin, _ := section.Seek(0, io.SeekCurrent) // never fails for a section
		h, err := t.Next()
		at, _ := section.Seek(0, io.SeekCurrent)
		switch {
		case errors.Is(err, io.EOF) && len(a.entries) > 0:
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF) && len(a.entries) > 0:
			return fmt.Errorf("%s is truncated after %d bytes: %s", a.parts.stem, a.parts.size, recopyAdvice)
		case err != nil && len(a.entries) == 0:
			return fmt.Errorf("%s is not an archive of `privatelink export`: %w", a.parts.names[0], err)
		case err != nil:
			return fmt.Errorf("%s: invalid header: %w: %s", a.parts.position(begin), err, recopyAdvice)
		case count >= maxEntries:
			return fmt.Errorf("%s has more than %d entries: export fewer images at a time", a.parts.names[0], maxEntries)
		}
		if err := a.addEntry(h, at); err != nil {
			return fmt.Errorf("%s: entry %q %w", a.parts.position(begin), h.Name, err)
		}
	}
}

// addEntry adds an entry, unless it cannot be one that Write has written.
func (a *Archive) addEntry(h *tar.Header, offset int64) error {
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	path := strings.TrimPrefix(h.Name, "./")
	_, isBlob := blobDigest(path)
	_, exists := a.entries[path]
	switch {
	case h.Typeflag != tar.TypeReg || isSparse(h):
		return errors.New("is not a regular file: export the archive again")
	case !isBlob && path != sumsEntry && !slices.Contains(describedEntries(), path):
		return errors.New("does not belong to an archive of `privatelink export`: export the archive again")
	case exists:
		return errors.New("is a duplicate: export the archive again")
	case h.Size > maxSize, !isBlob && h.Size > maxText:
		return fmt.Errorf("is too large (%s): %s", formatSize(h.Size), recopyAdvice)
	}
	// Truncated entries are added as well: checkComplete names what is missing.
	a.entries[path] = region{offset, h.Size}
	return nil
}

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse") {
			return true
		}
	}
	return false
}

// readEntry returns the content of an entry.
func (a *Archive) readEntry(entry string, limit int64) ([]byte, error) {
	r, ok := a.entries[entry]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s has no %s: %s", a.parts.stem, entry, recopyAdvice)
	case r.size > limit:
		return nil, fmt.Errorf("%s: %s is too large (%s): %s", a.parts.position(r.offset), entry, formatSize(r.size), recopyAdvice)
	case r.offset+r.size > a.parts.size:
		return nil, fmt.Errorf("%s is truncated in %s: %s", a.parts.stem, entry, recopyAdvice)
	}
	b := make([]byte, r.size)
	if _, err := a.parts.ReadAt(b, r.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s: %w", a.parts.position(r.offset), entry, err)
	}
	return b, nil
}

// readDescription reads the entries that describe the images.
func (a *Archive) readDescription() error {
	texts, err := a.readDescribedEntries()
	if err != nil {
		return err
	}
	var l ocispec.ImageLayout
	var index ocispec.Index
	err = errors.Join(unmarshal(layoutEntry, texts[layoutEntry], &l), unmarshal(indexEntry, texts[indexEntry], &index), unmarshal(metaEntry, texts[metaEntry], &a.meta))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w: export the archive again", a.parts.stem, err)
	case a.meta.Version > version:
		return fmt.Errorf("%s has the format version %d, and this privatelink supports versions up to %d: use a newer privatelink", a.parts.stem, a.meta.Version, version)
	case a.meta.Version != version || l.Version != ocispec.ImageLayoutVersion:
		return fmt.Errorf("%s has the unknown format version %d with the image layout %q: export the archive again", a.parts.stem, a.meta.Version, l.Version)
	}
	if a.lock, err = lock.Parse(a.parts.stem+": "+lockEntry, texts[lockEntry]); err != nil {
		return err
	}
	return a.indexManifests(index)
}

// readDescribedEntries returns the entries that have a checksum. Unlike blobs they are
// not named by their digest, and a changed bit could send an image to another target.
func (a *Archive) readDescribedEntries() (map[string][]byte, error) {
	list, err := a.readEntry(sumsEntry, maxText)
	if err != nil {
		return nil, err
	}
	digests, err := parseSums(sumsEntry, string(list))
	if err != nil {
		return nil, a.changedError(sumsEntry, err)
	}
	texts := map[string][]byte{}
	for _, entry := range describedEntries() {
		if texts[entry], err = a.readEntry(entry, maxText); err != nil {
			return nil, err
		}
		if want, got := digests[entry], digest.FromBytes(texts[entry]); got != want {
			return nil, a.changedError(entry, fmt.Errorf("it has the digest %s, and %s has %s", got, sumsEntry, want))
		}
	}
	return texts, nil
}

func (a *Archive) changedError(entry string, err error) error {
	return fmt.Errorf("%s: %s was changed: %w: %s", a.parts.position(a.entries[entry].offset), entry, err, recopyAdvice)
}

// indexManifests records the name and the media type of each manifest.
func (a *Archive) indexManifests(index ocispec.Index) error {
	a.images, a.known = map[imageName]ocispec.Descriptor{}, map[digest.Digest]ocispec.Descriptor{}
	add := func(d ocispec.Descriptor) ocispec.Descriptor {
		plain := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
		a.known[d.Digest] = plain
		return plain
	}
	for _, referrers := range a.meta.Referrers {
		for _, d := range referrers {
			add(d)
		}
	}
	for _, d := range a.meta.SignatureTags {
		add(d)
	}
	for _, d := range index.Manifests {
		plain := add(d)
		if ref := d.Annotations[ocispec.AnnotationRefName]; ref != "" {
			a.images[nameOf(ref)] = plain
		}
	}
	for _, e := range a.lock.Images {
		if d := a.images[nameOf(e.Source)]; d.Digest != e.Digest {
			return fmt.Errorf("%s: %s has %s as %s, and %s has %q: export the archive again", a.parts.stem, lockEntry, e.Source, e.Digest, indexEntry, d.Digest)
		}
	}
	return nil
}

func nameOf(ref string) imageName {
	r := rewrite.SplitReference(ref)
	return imageName{r.Repository, r.Identifier()}
}

// checkConsistent checks that the described manifests exist, and that the assumption
// of a delta is valid.
func (a *Archive) checkConsistent() error {
	for digest, d := range a.known {
		if r, ok := a.entries[blobEntry(digest)]; digest.Validate() != nil || !ok || r.size != d.Size || r.size > maxManifest {
			return fmt.Errorf("%s does not have the manifest %q of %d bytes: export the archive again", a.parts.stem, digest, d.Size)
		}
	}
	if a.meta.Assumes == nil {
		return nil
	}
	for _, b := range a.meta.Assumes.Blobs {
		isInvalidIndex := func(i int) bool { return i < 0 || i >= len(a.meta.Assumes.Images) }
		if b.Digest.Validate() != nil || b.Size < 0 || b.Size > maxSize || len(b.Images) == 0 || slices.ContainsFunc(b.Images, isInvalidIndex) {
			return fmt.Errorf("%s: %s: invalid assumed blob %q: export the archive again", a.parts.stem, metaEntry, b.Digest)
		}
	}
	return nil
}

// checkComplete checks that all contents exist. The error says how much is missing.
func (a *Archive) checkComplete() error {
	var entries []*entry
	for _, name := range append(describedEntries(), sumsEntry) {
		entries = append(entries, &entry{name: name, size: a.entries[name].size})
	}
	var missing digest.Digest
	for _, c := range a.meta.Contents {
		if c.Digest.Validate() != nil || c.Size < 0 || c.Size > maxSize {
			return fmt.Errorf("%s: %s: invalid blob %q of %d bytes: export the archive again", a.parts.stem, metaEntry, c.Digest, c.Size)
		}
		name := blobEntry(c.Digest)
		r, ok := a.entries[name]
		if ok && r.size != c.Size {
			return fmt.Errorf("%s: %s has %d bytes and should have %d: %s", a.parts.position(r.offset), name, r.size, c.Size, recopyAdvice)
		}
		if missing == "" && (!ok || r.offset+r.size > a.parts.size) {
			missing = c.Digest
		}
		entries = append(entries, &entry{name: name, size: c.Size})
	}
	if missing == "" {
		return nil
	}
	l, err := newLayout(entries)
	if err != nil || l.size <= a.parts.size {
		return fmt.Errorf("%s does not have %s: export the archive again", a.parts.stem, blobEntry(missing))
	}
	return a.parts.truncatedError(l.size)
}

// truncatedError describes what is missing of an archive that should have want bytes.
func (p *parts) truncatedError(want int64) error {
	last := len(p.names) - 1
	if p.names[0] == p.stem {
		return fmt.Errorf("%s is truncated: it has %d of %d bytes: %s", p.stem, p.size, want, recopyAdvice)
	}
	if n := p.size - int64(last)*p.partLimit; n < p.partLimit {
		return fmt.Errorf("%s is truncated: it has %d of %d bytes: copy this part again", p.names[last], n, min(p.partLimit, want-int64(last)*p.partLimit))
	}
	names, err := partNames(p.stem, want, p.partLimit)
	if err != nil {
		return err
	}
	return fmt.Errorf("the archive %s is missing %s: copy it to the directory of the other parts", p.stem, strings.Join(names[last+1:], ", "))
}
