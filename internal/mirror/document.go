// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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

const (
	// maxManifestSize is the size that registries have to accept, so that no published
	// manifest is larger.
	// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
	maxManifestSize = 4 << 20
	// maxReferences bounds what one manifest names. Container runtimes mount 127 layers;
	// artifacts such as models have some hundred.
	maxReferences = 2000
	// maxBlobSize keeps sums of sizes from overflowing. ECR accepts layers of 51 GiB.
	maxBlobSize = 1 << 40
)

// document is a manifest or an index, of OCI or of Docker.
type document struct {
	fields    map[string]json.RawMessage
	config    *ocispec.Descriptor
	layers    []ocispec.Descriptor // of a manifest
	manifests []ocispec.Descriptor // of an index
}

// parseDocument reads a manifest, and validates all that it names.
func parseDocument(mediaType string, raw []byte) (document, error) {
	var doc document
	if err := json.Unmarshal(raw, &doc.fields); err != nil {
		return document{}, fmt.Errorf("not a manifest: %w", err)
	}
	err := errors.Join(
		doc.decode("config", &doc.config),
		doc.decode("layers", &doc.layers),
		doc.decode("manifests", &doc.manifests),
	)
	if mediaType == ociArtifact {
		// The artifact manifest of release candidates of OCI 1.1 has blobs.
		err = errors.Join(err, doc.decode("blobs", &doc.layers))
	}
	if err == nil {
		err = doc.validate(mediaType)
	}
	if err != nil {
		return document{}, err
	}
	return doc, nil
}

// decode reads a field, which may be missing. Names are case-sensitive, unlike in
// encoding/json.
func (doc document) decode(field string, into any) error {
	text, ok := doc.fields[field]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("not a manifest: field %q: %w", field, err)
	}
	return nil
}

func (doc document) validate(mediaType string) error {
	// A document that can be read as an index and as an image means different images to
	// different clients. Container runtimes refuse it as well.
	// https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh
	if len(doc.manifests) > 0 && (!IsIndex(mediaType) || doc.config != nil || len(doc.layers) > 0) {
		return errors.New("the manifest is ambiguous: it has the fields of an index and of an image")
	}
	if n := len(doc.layers) + len(doc.manifests); n > maxReferences {
		return fmt.Errorf("the manifest names %d others and layers; at most %d are supported", n, maxReferences)
	}
	for _, d := range doc.children() {
		if err := checkManifest(d); err != nil {
			return err
		}
		if d.Size == 0 {
			return fmt.Errorf("the manifest names %s, another one, of 0 bytes", d.Digest)
		}
	}
	for _, d := range doc.blobs() {
		if d.Digest.Validate() != nil || d.Size < 0 || d.Size > maxBlobSize {
			return fmt.Errorf("the manifest names the invalid blob %q of %d bytes", d.Digest, d.Size)
		}
	}
	return nil
}

// checkManifest validates the descriptor of a manifest that is to be read.
func checkManifest(d ocispec.Descriptor) error {
	switch err := d.Digest.Validate(); {
	case err != nil:
		return fmt.Errorf("the digest %q of a manifest is invalid: %w", d.Digest, err)
	case !isManifest(d.MediaType):
		return fmt.Errorf("the media type %q is not supported: ask the publisher for an OCI or Docker schema 2 image", d.MediaType)
	case d.Size < 0 || d.Size > maxManifestSize:
		return fmt.Errorf("the manifest %s has %d bytes; registries accept 1 to %d", d.Digest, d.Size, maxManifestSize)
	}
	return nil
}

// children returns the manifests that an index names, each once.
func (doc document) children() (children []ocispec.Descriptor) {
	seen := map[digest.Digest]bool{}
	for _, d := range doc.manifests {
		if isManifest(d.MediaType) && !seen[d.Digest] {
			seen[d.Digest] = true
			children = append(children, d)
		}
	}
	return children
}

// blobs returns what a document names and is not a manifest, each once. An index may
// name blobs, too.
func (doc document) blobs() (blobs []ocispec.Descriptor) {
	seen := map[digest.Digest]bool{}
	add := func(d ocispec.Descriptor) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			blobs = append(blobs, d)
		}
	}
	for _, d := range doc.layers {
		add(d)
	}
	if doc.config != nil {
		add(*doc.config)
	}
	for _, d := range doc.manifests {
		if !isManifest(d.MediaType) {
			add(d)
		}
	}
	return blobs
}

// encode returns the document with other manifests. All other fields are unchanged.
func (doc document) encode(manifests []json.RawMessage) ([]byte, error) {
	fields := maps.Clone(doc.fields)
	var err error
	if fields["manifests"], err = json.Marshal(manifests); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// entries returns the manifests of an index as they are written.
func (doc document) entries() ([]json.RawMessage, error) {
	var entries []json.RawMessage
	err := doc.decode("manifests", &entries)
	return entries, err
}
