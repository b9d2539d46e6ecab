// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// maxManifest is the size in bytes that registries must accept.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
const maxManifest = 4 << 20

// putManifest stores a manifest under a tag or its digest.
func (s *Server) putManifest(c *call) {
	text, err := io.ReadAll(io.LimitReader(c.r.Body, maxManifest+1))
	if err != nil {
		abort()
	}
	doc, err := parseDocument(text)
	mediaType := c.r.Header.Get("Content-Type")
	switch {
	case err != nil, len(text) > maxManifest:
		c.fail(http.StatusBadRequest, "MANIFEST_INVALID", "Manifest is not valid JSON")
		return
	case strings.Contains(mediaType, ";") || doc.MediaType != "" && doc.MediaType != mediaType:
		// https://github.com/sigstore/sigstore-js/pull/1058
		c.fail(http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf("Manifest media type %q is not supported", mediaType))
		return
	}
	i := &image{digest: digest.FromBytes(text), mediaType: mediaType, text: text, pushed: time.Now(), document: doc, artifactType: doc.ArtifactType}
	if i.artifactType == "" && doc.Config != nil {
		i.artifactType = doc.Config.MediaType
	}
	if rejected := s.commit(c, i); rejected != nil {
		c.fail(rejected.status, rejected.code, rejected.message)
		return
	}
	if doc.Subject != nil {
		c.reply.Header().Set("OCI-Subject", doc.Subject.Digest.String())
	}
	c.reply.Header().Set("Location", "/v2/"+c.Repository+"/manifests/"+i.digest.String())
	c.reply.Header().Set("Docker-Content-Digest", i.digest.String())
	c.send(http.StatusCreated, "", nil)
}

// rejection is an error response of the registry protocol.
type rejection struct {
	status        int
	code, message string
}

// commit adds an image to its repository, or returns why it is rejected.
func (s *Server) commit(c *call, i *image) *rejection {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.repositories[c.Repository]
	if !ok {
		return &rejection{http.StatusNotFound, "NAME_UNKNOWN", "The repository was deleted"}
	}
	byDigest := strings.Contains(c.Name, ":")
	if byDigest && digest.Digest(c.Name) != i.digest {
		return &rejection{http.StatusBadRequest, "DIGEST_INVALID", "The image digest does not match the digest specified"}
	}
	if i.document.Subject != nil && c.switches.RefuseReferrer != nil && c.switches.RefuseReferrer(i.artifactType) {
		return &rejection{http.StatusMethodNotAllowed, "UNSUPPORTED", "Invalid JSON syntax"}
	}
	if missing := r.findMissing(c, i); missing != nil {
		missing.message += fmt.Sprintf(" required for pushing image into repository with name '%s' in the registry with id '%s' do not exist", r.name, s.Account)
		return missing
	}
	if _, exists := r.names[c.Name]; exists && r.isImmutable(c.Name) {
		// ECR rejects it even if the tag refers to the same image.
		// https://github.com/aws/containers-roadmap/issues/2380
		status := c.switches.ImmutableStatus
		if status == 0 {
			status = http.StatusBadRequest
		}
		return &rejection{status, "TAG_INVALID", fmt.Sprintf("The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", c.Name, r.name)}
	}
	if existing, exists := r.images[i.digest]; exists {
		existing.archived = false // a push restores it
	} else {
		r.images[i.digest] = i
	}
	if !byDigest {
		r.names[c.Name] = i.digest
	}
	return nil
}

// findMissing returns the rejection of a manifest that refers to content that is not
// in the repository. With ValidatorLag, recent uploads are not visible yet.
// https://github.com/int128/docker-manifest-create-action/pull/63
func (r *repository) findMissing(c *call, i *image) *rejection {
	for _, b := range i.document.blobs() {
		if uploaded, ok := r.blobs[b.Digest]; !ok || time.Since(uploaded) < c.switches.ValidatorLag {
			return &rejection{http.StatusNotFound, "BLOB_UNKNOWN", fmt.Sprintf("Layers with digests '[%s]'", b.Digest)}
		}
	}
	for _, m := range i.document.Manifests {
		_, image := r.images[m.Digest]
		if _, blob := r.blobs[m.Digest]; !image && !blob {
			return &rejection{http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", fmt.Sprintf("Images with digests '[%s]'", m.Digest)}
		}
	}
	return nil
}

// getManifest sends a manifest. If it is requested by tag and the client does not
// accept its media type, it is translated, which changes its digest.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html
func (s *Server) getManifest(c *call) {
	s.mu.Lock()
	i := s.repositories[c.Repository].find(c.Name)
	missing := i == nil || i.archived
	s.mu.Unlock()
	if missing {
		c.fail(http.StatusNotFound, "MANIFEST_UNKNOWN", "Requested image not found")
		return
	}
	text, mediaType := i.text, i.mediaType
	if !strings.Contains(c.Name, ":") {
		text, mediaType = translate(text, mediaType, c.r.Header.Values("Accept"))
	}
	c.reply.Header().Set("Docker-Content-Digest", digest.FromBytes(text).String())
	c.reply.Header().Set("Content-Length", strconv.Itoa(len(text)))
	c.send(http.StatusOK, mediaType, text)
}

var translations = strings.NewReplacer(
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json",
	"application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip",
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json",
	"application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip",
)

// translate converts a manifest between the formats of Docker and OCI if the client
// accepts only the other one.
func translate(text []byte, mediaType string, accept []string) ([]byte, string) {
	accepted := strings.Join(accept, ",")
	other := translations.Replace(mediaType)
	if accepted == "" || strings.Contains(accepted, "*/*") || strings.Contains(accepted, mediaType) || !strings.Contains(accepted, other) {
		return text, mediaType
	}
	return []byte(translations.Replace(string(text))), other
}
