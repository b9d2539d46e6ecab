// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// What an archive may have. All of it is far beyond any real one; it is what a
// broken or hostile file may cost us.
const (
	maxText     = 64 << 20 // of an entry that is read as a whole
	maxManifest = 8 << 20  // the OCI specification asks registries for 4 MiB
	maxEntries  = 200_000
	maxSize     = 1 << 50 // of a blob; sums of offsets stay far from overflowing
)

// Archive is an opened archive. As a mirror.Source it is safe for concurrent use.
type Archive struct {
	parts   *parts
	entries map[string]region
	meta    meta
	lock    *lock.Lock
	// images are the manifests by repository and tag or digest; known are those of
	// which the media type was said.
	images map[name]ocispec.Descriptor
	known  map[digest.Digest]ocispec.Descriptor
}

type name struct{ repository, tagOrDigest string }

// region is the content of an entry.
type region struct{ offset, size int64 }

// Open opens an archive by its name. One that was split is found by the name of
// the whole or of a part; its parts have to lie in one folder.
//
// All headers are read, and all that describes the images is checked; layers are
// checked when they are read, or by Verify. Errors name the file and the place in
// it: a missing part, a truncated or changed archive, a tar of somebody else.
func Open(path string) (*Archive, error) {
	p, err := find(path)
	if err != nil {
		return nil, err
	}
	a := &Archive{parts: p, entries: map[string]region{}}
	if err := a.read(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return a, nil
}

// Close closes the files.
func (a *Archive) Close() error { return a.parts.Close() }

// Lock is the lock file in the archive: what is in it, and where it belongs.
func (a *Archive) Lock() *lock.Lock { return a.lock }

// IsDelta tells whether blobs were left out that the target should have.
func (a *Archive) IsDelta() bool { return a.meta.Assumes != nil }

// again is what to do about an archive that is not as it was written.
const again = "copy the archive again, and compare the copy with sha256sum -c"

// read reads all but the blobs.
func (a *Archive) read() error {
	ended := a.headers()
	if _, ok := a.entries[metaEntry]; !ok {
		if ended == nil {
			ended = fmt.Errorf("%s is a tar, but was not written by `privatelink export`: it has no %s; if it was, it is truncated: %s", a.parts.names[0], metaEntry, again)
		}
		return ended
	}
	if err := a.describe(); err != nil {
		return errors.Join(ended, err)
	}
	if lacks := a.lacks(); lacks != nil {
		return lacks
	}
	if ended != nil {
		return ended
	}
	return a.consistent()
}

// headers finds the entries, going from header to header.
func (a *Archive) headers() error {
	section := io.NewSectionReader(a.parts, 0, a.parts.size)
	t := tar.NewReader(section)
	for {
		begin, _ := section.Seek(0, io.SeekCurrent) // a section does not fail here
		h, err := t.Next()
		at, _ := section.Seek(0, io.SeekCurrent)
		switch {
		case errors.Is(err, io.EOF) && len(a.entries) > 0:
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF) && len(a.entries) > 0:
			return fmt.Errorf("%s is truncated after %d bytes: %s", a.parts.stem, a.parts.size, again)
		case err != nil && len(a.entries) == 0:
			return fmt.Errorf("%s is no archive of `privatelink export`: %w", a.parts.names[0], err)
		case err != nil:
			return fmt.Errorf("%s: no header where one should be: %w; %s", a.parts.at(begin), err, again)
		}
		if err := a.entry(h, at); err != nil {
			return fmt.Errorf("%s: entry %q %w", a.parts.at(begin), h.Name, err)
		}
	}
}

// entry takes an entry in. Nothing is ever unpacked, so a strange name could do no
// harm; but who writes one did not write this format.
func (a *Archive) entry(h *tar.Header, at int64) error {
	path := strings.TrimPrefix(h.Name, "./")
	_, isBlob := blobOf(path)
	sparse := slices.ContainsFunc(slices.Collect(maps.Keys(h.PAXRecords)), func(k string) bool { return strings.HasPrefix(k, "GNU.sparse") })
	_, twice := a.entries[path]
	switch {
	case h.Typeflag == tar.TypeDir:
		return nil
	case h.Typeflag != tar.TypeReg || sparse:
		return errors.New("is no plain file, and so not of this format; make the archive anew with `privatelink export`")
	case !isBlob && !slices.Contains([]string{layoutEntry, indexEntry, lockEntry, metaEntry, sumsEntry}, path):
		return errors.New("does not belong into an archive of `privatelink export`; make it anew with that")
	case twice:
		return errors.New("is there twice; make the archive anew with `privatelink export`")
	case h.Size > maxSize, !isBlob && h.Size > maxText:
		return fmt.Errorf("has %s, which is absurd; %s", size(h.Size), again)
	case len(a.entries) >= maxEntries:
		return fmt.Errorf("is one too many: more than %d are not read", maxEntries)
	}
	// Also where its content is cut off: then describe can say what is missing.
	a.entries[path] = region{at, h.Size}
	return nil
}

// text reads an entry as a whole.
func (a *Archive) text(entry string, most int64) ([]byte, error) {
	r, ok := a.entries[entry]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s has no %s: %s", a.parts.stem, entry, again)
	case r.size > most:
		return nil, fmt.Errorf("%s: %s has %s, which is absurd; %s", a.parts.at(r.offset), entry, size(r.size), again)
	case r.offset+r.size > a.parts.size:
		return nil, fmt.Errorf("%s is truncated in %s: %s", a.parts.stem, entry, again)
	}
	b := make([]byte, r.size)
	if _, err := a.parts.ReadAt(b, r.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s: %w", a.parts.at(r.offset), entry, err)
	}
	return b, nil
}

// describe reads what describes the images. All of it has digests, for no blob
// would tell of a target's name in which a bit has changed.
func (a *Archive) describe() error {
	list, err := a.text(sumsEntry, maxText)
	if err != nil {
		return err
	}
	digests, err := parseSums(sumsEntry, string(list))
	if err != nil {
		return a.wrong(sumsEntry, err)
	}
	texts := map[string][]byte{}
	for _, entry := range []string{layoutEntry, indexEntry, lockEntry, metaEntry} {
		if texts[entry], err = a.text(entry, maxText); err != nil {
			return err
		}
		if want, got := digests[entry], digest.FromBytes(texts[entry]); got != want {
			return a.wrong(entry, fmt.Errorf("it has the digest %s, and %s says %s", got, sumsEntry, want))
		}
	}
	var l ocispec.ImageLayout
	var i ocispec.Index
	err = errors.Join(parse(layoutEntry, texts[layoutEntry], &l), parse(indexEntry, texts[indexEntry], &i), parse(metaEntry, texts[metaEntry], &a.meta))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w; make it anew with `privatelink export`", a.parts.stem, err)
	case a.meta.Version > version:
		return fmt.Errorf("%s has the format %d, and this privatelink knows up to %d: use the one that wrote it, or a newer", a.parts.stem, a.meta.Version, version)
	case a.meta.Version != version || l.Version != ocispec.ImageLayoutVersion:
		return fmt.Errorf("%s has the format %d and the image layout %q, which do not exist: make it anew with `privatelink export`", a.parts.stem, a.meta.Version, l.Version)
	}
	if a.lock, err = lock.Parse(a.parts.stem+": "+lockEntry, texts[lockEntry]); err != nil {
		return err
	}
	return a.name(i)
}

func (a *Archive) wrong(entry string, err error) error {
	return fmt.Errorf("%s: %s was changed: %w; %s", a.parts.at(a.entries[entry].offset), entry, err, again)
}

// name notes which manifest each name stands for.
func (a *Archive) name(i ocispec.Index) error {
	a.images, a.known = map[name]ocispec.Descriptor{}, map[digest.Digest]ocispec.Descriptor{}
	know := func(d ocispec.Descriptor) ocispec.Descriptor {
		plain := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.ArtifactType}
		a.known[d.Digest] = plain
		return plain
	}
	for _, list := range a.meta.Referrers {
		for _, d := range list {
			know(d)
		}
	}
	for _, d := range a.meta.SignatureTags {
		know(d)
	}
	for _, d := range i.Manifests {
		plain := know(d)
		if ref := d.Annotations[ocispec.AnnotationRefName]; ref != "" {
			source := rewrite.SplitReference(ref)
			a.images[name{source.Repository, source.Identifier()}] = plain
		}
	}
	for _, image := range a.lock.Images {
		source := rewrite.SplitReference(image.Source)
		if d := a.images[name{source.Repository, source.Identifier()}]; d.Digest != image.Digest {
			return fmt.Errorf("%s: %s has %s as %s, and %s has %q: make it anew with `privatelink export`", a.parts.stem, lockEntry, image.Source, image.Digest, indexEntry, d.Digest)
		}
	}
	return nil
}

// consistent compares what is there with what is said to be.
func (a *Archive) consistent() error {
	for digest, d := range a.known {
		if r, ok := a.entries[blobEntry(digest)]; digest.Validate() != nil || !ok || r.size != d.Size || r.size > maxManifest {
			return fmt.Errorf("%s: the manifest %q of %d bytes is not in it: make it anew with `privatelink export`", a.parts.stem, digest, d.Size)
		}
	}
	if a.meta.Assumes == nil {
		return nil
	}
	for _, b := range a.meta.Assumes.Blobs {
		ok := b.Digest.Validate() == nil && b.Size >= 0 && len(b.Images) > 0
		for _, i := range b.Images {
			ok = ok && i >= 0 && i < len(a.meta.Assumes.Images)
		}
		if !ok {
			return fmt.Errorf("%s: %s: the assumed blob %q makes no sense: make it anew with `privatelink export`", a.parts.stem, metaEntry, b.Digest)
		}
	}
	return nil
}

// lacks names what a truncated archive misses, which privatelink.archive.json
// knows.
func (a *Archive) lacks() error {
	var entries []*entry
	for _, e := range []string{layoutEntry, indexEntry, lockEntry, metaEntry, sumsEntry} {
		entries = append(entries, &entry{name: e, size: a.entries[e].size})
	}
	var missing digest.Digest
	for _, c := range a.meta.Contents {
		if c.Digest.Validate() != nil || c.Size < 0 || c.Size > maxSize {
			return fmt.Errorf("%s: %s: %q of %d bytes cannot be: make it anew with `privatelink export`", a.parts.stem, metaEntry, c.Digest, c.Size)
		}
		name := blobEntry(c.Digest)
		r, ok := a.entries[name]
		if ok && r.size != c.Size {
			return fmt.Errorf("%s: %s has %d bytes and should have %d; %s", a.parts.at(r.offset), name, r.size, c.Size, again)
		}
		if missing == "" && (!ok || r.offset+r.size > a.parts.size) {
			missing = c.Digest
		}
		entries = append(entries, &entry{name: name, size: c.Size})
	}
	if missing == "" {
		return nil
	}
	l, err := place(entries)
	if err != nil || l.size <= a.parts.size {
		return fmt.Errorf("%s lacks %s: make it anew with `privatelink export`", a.parts.stem, blobEntry(missing))
	}
	return a.parts.short(l.size)
}

// short says what is missing of an archive that should have so many bytes.
func (p *parts) short(want int64) error {
	last := len(p.names) - 1
	if p.names[0] == p.stem {
		return fmt.Errorf("%s is truncated: it has %d of %d bytes; %s", p.stem, p.size, want, again)
	}
	if n := p.size - int64(last)*p.each; n < p.each {
		return fmt.Errorf("%s is truncated: it has %d of %d bytes; copy that part again", p.names[last], n, min(p.each, want-int64(last)*p.each))
	}
	names, err := partNames(p.stem, want, p.each)
	if err != nil {
		return err
	}
	return fmt.Errorf("the archive %s lacks %s: copy it beside the other parts", p.stem, strings.Join(names[last+1:], ", "))
}
