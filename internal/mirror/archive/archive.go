// SPDX-License-Identifier: Apache-2.0

// Package archive transfers images to air-gapped environments: Write exports them to a
// file, and Open reads that file as the source of a mirror.
//
// The file is a plain tar with an OCI image layout
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md), so
// that other tools can read it. Blobs and manifests that images share are stored once.
// The tar is not compressed, because layers are: a reader seeks to a blob.
//
// The same content gives the same bytes. All offsets are known before the first byte
// is written, so blobs are fetched concurrently, each to its offset, and a resumed
// export keeps the blobs that were complete.
package archive

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// The entries of the tar that are not blobs, in order.
const (
	layoutEntry = ocispec.ImageLayoutFile // oci-layout
	indexEntry  = ocispec.ImageIndexFile  // index.json
	lockEntry   = lock.DefaultFile
	metaEntry   = "privatelink.archive.json"
	sumsEntry   = "privatelink.sha256" // of the others, for sha256sum -c
)

// describedEntries are the entries that have a checksum in sumsEntry.
func describedEntries() []string { return []string{layoutEntry, indexEntry, lockEntry, metaEntry} }

// version is the version of the format. Newer versions are refused.
const version = 1

// meta is the content of privatelink.archive.json: what an OCI layout cannot express.
type meta struct {
	Version int `json:"version"`
	// Contents lists all blobs and manifests of the archive in order, so that the error
	// for a truncated archive can name what is missing.
	Contents []contentInfo `json:"contents"`
	// Referrers lists, by the digest of a manifest, what refers to it.
	Referrers map[digest.Digest][]ocispec.Descriptor `json:"referrers,omitempty"`
	// SignatureTags are tags of the form sha256-….sig, each with its manifest.
	SignatureTags map[string]ocispec.Descriptor `json:"signatureTags,omitempty"`
	// Assumes lists what was left out because the target is expected to have it.
	Assumes *assumption `json:"assumes,omitempty"`
}

type contentInfo struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// assumption is what a delta expects in the target.
type assumption struct {
	Lock   digest.Digest  `json:"lock"` // of the older lock file
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
	contentInfo
	Images []int `json:"images"` // that have the blob, as indexes of assumption.Images
}

// blobEntry returns the name of a blob in the tar.
func blobEntry(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

// blobDigest is the inverse of blobEntry.
func blobDigest(name string) (digest.Digest, bool) {
	rest, ok := strings.CutPrefix(name, ocispec.ImageBlobsDir+"/")
	algorithm, encoded, cut := strings.Cut(rest, "/")
	d := digest.Digest(algorithm + ":" + encoded)
	return d, ok && cut && d.Validate() == nil
}

// unmarshal decodes a JSON entry of the archive.
func unmarshal(name string, text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// formatSize returns a size with a unit.
func formatSize(n int64) string {
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
