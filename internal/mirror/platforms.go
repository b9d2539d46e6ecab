// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The operating systems and architectures of images are those of Go.
// https://github.com/opencontainers/image-spec/blob/main/image-index.md
const (
	knownSystems       = " aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows zos "
	knownArchitectures = " 386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm "
)

// ParsePlatforms validates and normalizes platforms, and removes duplicates.
func ParsePlatforms(texts []string) ([]string, error) {
	var all []string
	for _, text := range texts {
		p, err := parsePlatform(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all, nil
}

// parsePlatform validates a platform such as linux/arm64 or linux/arm/v7, and returns
// it in the normalized form of container runtimes: linux/arm64/v8 is linux/arm64.
func parsePlatform(text string) (string, error) {
	parts := strings.Split(strings.ToLower(text), "/")
	if len(parts) == 1 {
		if architecture, _ := normalizeArchitecture(parts[0], ""); isKnown(knownArchitectures, architecture) {
			return "", fmt.Errorf("platform %q has no operating system: use linux/%s", text, architecture)
		}
	}
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return "", fmt.Errorf("platform %q is not of the form OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64", text)
	}
	parts = append(parts, "")
	architecture, variant := normalizeArchitecture(parts[1], parts[2])
	switch {
	case !isKnown(knownSystems, parts[0]):
		return "", fmt.Errorf("platform %q has the unknown operating system %q: use linux, such as linux/%s", text, parts[0], architecture)
	case !isKnown(knownArchitectures, architecture):
		return "", fmt.Errorf("platform %q has the unknown architecture %q: use one such as %s/amd64 or %s/arm64", text, parts[1], parts[0], parts[0])
	}
	return formatPlatform(parts[0], architecture, variant), nil
}

func isKnown(list, word string) bool { return strings.Contains(list, " "+word+" ") }

// normalizeArchitecture returns the names that containerd compares.
// https://github.com/containerd/platforms/blob/main/database.go
func normalizeArchitecture(architecture, variant string) (string, string) {
	switch architecture {
	case "x86_64", "x86-64":
		architecture = "amd64"
	case "i386":
		architecture = "386"
	case "aarch64":
		architecture = "arm64"
	case "armhf":
		return "arm", "v7"
	case "armel":
		return "arm", "v6"
	}
	if variant != "" && variant[0] >= '0' && variant[0] <= '9' {
		variant = "v" + variant
	}
	variant = strings.TrimSuffix(variant, ".0")
	switch architecture + "/" + variant {
	case "amd64/v1", "arm64/v8":
		variant = ""
	}
	return architecture, variant
}

func formatPlatform(system, architecture, variant string) string {
	return strings.TrimSuffix(system+"/"+architecture+"/"+variant, "/")
}

// platformOf returns a platform in its normalized form; "" if there is none, as in the
// descriptors of attestations.
func platformOf(p *ocispec.Platform) string {
	if p == nil || p.OS == "unknown" || p.OS == "" {
		return ""
	}
	architecture, variant := normalizeArchitecture(strings.ToLower(p.Architecture), strings.ToLower(p.Variant))
	if architecture == "arm" && variant == "" {
		variant = "v7"
	}
	return formatPlatform(strings.ToLower(p.OS), architecture, variant)
}

// attestationSubject is the annotation with which BuildKit names the image of an
// attestation.
// https://docs.docker.com/build/metadata/attestations/attestation-storage/
const attestationSubject = "vnd.docker.reference.digest"

// noPlatformError is the error for an index that has none of the platforms.
type noPlatformError struct {
	wanted, offered []string
}

func (e *noPlatformError) Error() string {
	text := "the image has none of the platforms " + strings.Join(e.wanted, ", ")
	if len(e.offered) == 0 {
		return text + ": its index names no platform"
	}
	return text + ", only " + strings.Join(e.offered, ", ")
}

// filter is the reduction of an index to the platforms of a reader.
type filter struct {
	*treeReader
	depth   int
	offered []string               // platforms in the index
	matches bool                   // whether an entry is for a platform of the reader
	images  map[digest.Digest]bool // original digests of the entries that are kept
}

// filter reduces an index to the platforms of the reader and to their attestations.
// Entries without a platform are kept, and indexes in the index are reduced. It
// returns the index, and its document with the original entries that are kept.
func (r *treeReader) filter(ctx context.Context, index *node, doc document, depth int) (*node, document, error) {
	f := filter{treeReader: r, depth: depth, images: map[digest.Digest]bool{}}
	reduced := make([]*ocispec.Descriptor, len(doc.manifests)) // nil for those left out
	for i, d := range doc.manifests {
		if _, ok := d.Annotations[attestationSubject]; ok {
			continue
		}
		var err error
		if reduced[i], err = f.reduce(ctx, d); err != nil {
			return nil, document{}, err
		}
		if reduced[i] != nil {
			f.images[d.Digest] = true
		}
	}
	if !f.matches && (len(f.offered) > 0 || len(f.images) == 0) {
		return nil, document{}, &noPlatformError{r.platforms, f.offered}
	}
	for i, d := range doc.manifests {
		if subject, ok := d.Annotations[attestationSubject]; ok && f.images[digest.Digest(subject)] {
			reduced[i] = &d
		}
	}
	return rewriteIndex(index, doc, reduced)
}

// reduce returns an entry of an index as it is to be, or nil to leave it out.
func (f *filter) reduce(ctx context.Context, d ocispec.Descriptor) (*ocispec.Descriptor, error) {
	if d.Platform != nil && d.Platform.OS == "unknown" {
		return nil, nil
	}
	platform := platformOf(d.Platform)
	if platform != "" && !f.match(platform) {
		return nil, nil
	}
	switch {
	case IsIndex(d.MediaType):
		return f.reduceIndex(ctx, d)
	case platform == "" && isManifest(d.MediaType):
		platform, err := f.configPlatform(ctx, d)
		if err != nil || platform != "" && !f.match(platform) {
			return nil, err
		}
	}
	return &d, nil
}

// match records a platform of the index, and reports whether it is kept. A platform
// without a variant stands for all of its variants.
func (f *filter) match(platform string) bool {
	f.offered = append(f.offered, platform)
	isWanted := slices.ContainsFunc(f.platforms, func(want string) bool {
		return platform == want || strings.HasPrefix(platform, want+"/")
	})
	if isWanted {
		f.matches = true
	}
	return isWanted
}

// reduceIndex returns the descriptor of an index in the index after its reduction.
func (f *filter) reduceIndex(ctx context.Context, d ocispec.Descriptor) (*ocispec.Descriptor, error) {
	n, err := f.read(ctx, d, f.depth+1)
	var none *noPlatformError
	if errors.As(err, &none) {
		f.offered = append(f.offered, none.offered...)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.matches = true
	d.Digest, d.Size = n.desc.Digest, n.desc.Size
	return &d, nil
}

// maxConfigSize bounds the configurations that are read for their platform.
const maxConfigSize = maxManifestSize

// configPlatform returns the platform in the configuration of an image; "" if it has
// none.
func (f *filter) configPlatform(ctx context.Context, d ocispec.Descriptor) (string, error) {
	n, err := f.read(ctx, d, f.depth+1)
	if err != nil {
		return "", err
	}
	doc, err := parseDocument(n.desc.MediaType, n.raw)
	if err != nil || doc.config == nil || doc.config.Size > maxConfigSize {
		return "", err
	}
	body, err := f.source.Blob(ctx, f.repository, *doc.config)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var platform ocispec.Platform
	if json.Unmarshal(text, &platform) != nil {
		return "", nil // the configuration of an artifact
	}
	return platformOf(&platform), nil
}

// rewriteIndex replaces the entries of an index; those that are nil are left out. It
// returns the document with the original entries that are kept.
func rewriteIndex(index *node, doc document, reduced []*ocispec.Descriptor) (*node, document, error) {
	entries, err := doc.entries()
	if err != nil {
		return nil, document{}, err
	}
	var written []json.RawMessage
	var kept []ocispec.Descriptor
	isChanged := false
	for i, d := range doc.manifests {
		switch {
		case reduced[i] == nil:
			isChanged = true
			continue
		case reduced[i].Digest != d.Digest:
			isChanged = true
			if entries[i], err = replaceContent(entries[i], *reduced[i]); err != nil {
				return nil, document{}, err
			}
		}
		written, kept = append(written, entries[i]), append(kept, d)
	}
	doc.manifests = kept
	if !isChanged {
		return index, doc, nil
	}
	raw, err := doc.encode(written)
	if err != nil {
		return nil, document{}, err
	}
	d := index.desc
	d.Digest, d.Size = digest.FromBytes(raw), int64(len(raw))
	return &node{desc: d, raw: raw, filtered: true}, doc, nil
}

// replaceContent replaces the digest and the size in an entry of an index.
func replaceContent(entry json.RawMessage, d ocispec.Descriptor) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(entry, &fields); err != nil {
		return nil, err
	}
	fields["digest"], fields["size"] = json.RawMessage(`"`+d.Digest.String()+`"`), json.RawMessage(strconv.FormatInt(d.Size, 10))
	return json.Marshal(fields)
}
