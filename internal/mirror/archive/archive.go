// SPDX-License-Identifier: Apache-2.0

// Package archive carries images to where no network leads: Write puts them into
// one file, and Open reads that file as the source of a mirror.
//
// The file is a plain tar with an OCI image layout
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md), so
// that other tools can read it. Each blob and manifest is in it once, whatever
// number of images share it. Layers are compressed already, so the tar is not:
// whoever reads it goes straight to a blob and unpacks nothing.
//
// The same content gives the same bytes. The place of everything is known before
// the first byte is written, so blobs are downloaded side by side, each into its
// place, and after an interruption a blob that is in its place is not fetched
// again.
package archive

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// The entries of the tar beside the blobs, in their order.
const (
	layoutEntry = ocispec.ImageLayoutFile // oci-layout
	indexEntry  = ocispec.ImageIndexFile  // index.json
	lockEntry   = lock.DefaultFile
	metaEntry   = "privatelink.archive.json"
	sumsEntry   = "privatelink.sha256" // of the four above, for sha256sum -c
)

// version of the format. A reader refuses newer ones.
const version = 1

// meta is the content of privatelink.archive.json: what an OCI layout cannot say.
type meta struct {
	Version int `json:"version"`
	// Contents are all blobs and manifests in the archive, in their order. A
	// truncated archive can say by them what it lacks.
	Contents []stored `json:"contents"`
	// Referrers lists, by the digest of a manifest, what refers to it.
	Referrers map[digest.Digest][]ocispec.Descriptor `json:"referrers,omitempty"`
	// SignatureTags are tags of the kind sha256-….sig, each with its manifest.
	SignatureTags map[string]ocispec.Descriptor `json:"signatureTags,omitempty"`
	// Assumes says what was left out, because the target should have it.
	Assumes *assumption `json:"assumes,omitempty"`
}

type stored struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// assumption is what a delta takes for granted.
type assumption struct {
	Lock   digest.Digest  `json:"lock"` // of the text of the older lock file
	Images []assumedImage `json:"images"`
	Blobs  []assumedBlob  `json:"blobs"` // by digest
}

// assumedImage is an image of the older lock file.
type assumedImage struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// assumedBlob is a blob that is not in the archive.
type assumedBlob struct {
	stored
	Images []int `json:"images"` // those that have it, by their place in the list
}

// blobEntry is the name of a blob in the tar.
func blobEntry(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

// blobOf is the opposite of blobEntry.
func blobOf(name string) (digest.Digest, bool) {
	rest, ok := strings.CutPrefix(name, ocispec.ImageBlobsDir+"/")
	algorithm, encoded, cut := strings.Cut(rest, "/")
	d := digest.Digest(algorithm + ":" + encoded)
	return d, ok && cut && d.Validate() == nil
}

// parse reads JSON of the archive.
func parse(name string, text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// size is a number of bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, suffix := float64(n)/unit, 0
	for value >= unit && suffix < 3 {
		value /= unit
		suffix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[suffix])
}
