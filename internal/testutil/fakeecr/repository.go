// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// repository is protected by the lock of the server.
type repository struct {
	name       string
	created    time.Time
	mutability string
	excluded   []string
	encryption string
	kmsKey     string
	scan       bool
	lifecycle  string
	policy     string
	tags       map[string]string // AWS resource tags
	blobs      map[digest.Digest]time.Time
	images     map[digest.Digest]*image
	names      map[string]digest.Digest // by image tag
}

// image is a manifest or an index.
type image struct {
	digest       digest.Digest
	mediaType    string
	artifactType string
	text         []byte
	pushed       time.Time
	archived     bool
	document     document
}

// document has the fields of manifests and indexes that the server uses.
type document struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *descriptor       `json:"config"`
	Layers       []descriptor      `json:"layers"`
	Manifests    []descriptor      `json:"manifests"`
	Subject      *descriptor       `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

func parseDocument(text []byte) (d document, err error) {
	err = json.Unmarshal(text, &d)
	return d, err
}

// blobs returns the blobs that a manifest requires, without foreign layers.
func (d document) blobs() []descriptor {
	var all []descriptor
	if d.Config != nil {
		all = append(all, *d.Config)
	}
	for _, l := range d.Layers {
		if !strings.Contains(l.MediaType, ".foreign.") && !strings.Contains(l.MediaType, ".nondistributable.") {
			all = append(all, l)
		}
	}
	return all
}

// Create creates a repository with default settings, unless it exists.
func (s *Server) Create(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.repositories[name]; !ok {
		s.repositories[name] = newRepository(name)
	}
}

func newRepository(name string) *repository {
	return &repository{name: name, created: time.Now(), mutability: "MUTABLE", encryption: "AES256", tags: map[string]string{},
		blobs: map[digest.Digest]time.Time{}, images: map[digest.Digest]*image{}, names: map[string]digest.Digest{}}
}

// Repositories returns the names of all repositories.
func (s *Server) Repositories() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.repositories))
}

// SetImmutable makes all tags of a repository immutable, except for those that match
// the patterns.
func (s *Server) SetImmutable(name string, excluded ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[name]
	r.mutability, r.excluded = "IMMUTABLE", excluded
	if len(excluded) > 0 {
		r.mutability = "IMMUTABLE_WITH_EXCLUSION"
	}
}

// SetEncryption sets the encryption of a repository. Blobs can be mounted only
// between repositories with the same encryption.
func (s *Server) SetEncryption(name, encryption, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[name]
	r.encryption, r.kmsKey = encryption, key
}

// Archive archives an image, which can then not be pulled.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/archive-image.html
func (s *Server) Archive(name string, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.repositories[name]
	if !ok || r.images[d] == nil {
		return fmt.Errorf("no image %s in %s", d, name)
	}
	r.images[d].archived = true
	return nil
}

// Tag returns the digest of a tag, or "" if it does not exist.
func (s *Server) Tag(name, tag string) digest.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.repositories[name]; ok {
		return r.names[tag]
	}
	return ""
}

// isImmutable reports whether an existing tag cannot be moved.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
func (r *repository) isImmutable(tag string) bool {
	excluded := slices.ContainsFunc(r.excluded, func(pattern string) bool {
		ok, err := path.Match(pattern, tag)
		return ok && err == nil
	})
	switch r.mutability {
	case "IMMUTABLE":
		return true
	case "IMMUTABLE_WITH_EXCLUSION":
		return !excluded
	case "MUTABLE_WITH_EXCLUSION":
		return excluded
	}
	return false
}

// isCommitted reports whether a manifest of the repository refers to a blob.
func (r *repository) isCommitted(d digest.Digest) bool {
	for _, i := range r.images {
		for _, b := range i.document.blobs() {
			if b.Digest == d {
				return true
			}
		}
	}
	return false
}

// find returns the image of a tag or digest, or nil.
func (r *repository) find(name string) *image {
	if strings.Contains(name, ":") {
		return r.images[digest.Digest(name)]
	}
	return r.images[r.names[name]]
}

// tagsOf returns the tags of an image, sorted.
func (r *repository) tagsOf(d digest.Digest) []string {
	var all []string
	for _, tag := range slices.Sorted(maps.Keys(r.names)) {
		if r.names[tag] == d {
			all = append(all, tag)
		}
	}
	return all
}

// isIndexed reports whether an image is part of an index.
func (r *repository) isIndexed(d digest.Digest) bool {
	for _, i := range r.images {
		if slices.ContainsFunc(i.document.Manifests, func(m descriptor) bool { return m.Digest == d }) {
			return true
		}
	}
	return false
}

// referrers returns the referrers of a manifest, sorted by digest.
func (r *repository) referrers(subject digest.Digest) []*image {
	var all []*image
	for _, d := range slices.Sorted(maps.Keys(r.images)) {
		if i := r.images[d]; i.document.Subject != nil && i.document.Subject.Digest == subject {
			all = append(all, i)
		}
	}
	return all
}
