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

// repository is what one has. The server's lock guards it.
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
	tags       map[string]string // AWS's
	blobs      map[digest.Digest]time.Time
	images     map[digest.Digest]*image
	names      map[string]digest.Digest // tags of images
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

// document is what is read of a manifest.
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

// blobs that a manifest needs. Layers that lie elsewhere are not among them.
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

// Create makes a repository as CreateRepository without settings does.
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

// Repositories returns the names of all.
func (s *Server) Repositories() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.repositories))
}

// Immutable makes all tags of a repository immutable, but those that match.
func (s *Server) Immutable(name string, excluded ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[name]
	r.mutability, r.excluded = "IMMUTABLE", excluded
	if len(excluded) > 0 {
		r.mutability = "IMMUTABLE_WITH_EXCLUSION"
	}
}

// Encrypt says how a repository is encrypted, which its blobs have to share to
// be mounted.
func (s *Server) Encrypt(name, encryption, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[name]
	r.encryption, r.kmsKey = encryption, key
}

// Archive takes an image out of reach of pulls.
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

// Tag returns the digest that a tag stands for, or "".
func (s *Server) Tag(name, tag string) digest.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.repositories[name]; ok {
		return r.names[tag]
	}
	return ""
}

// immutable tells whether a tag that there is must not be written.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
func (r *repository) immutable(tag string) bool {
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

// committed tells whether a manifest of the repository names a blob.
func (r *repository) committed(d digest.Digest) bool {
	for _, i := range r.images {
		for _, b := range i.document.blobs() {
			if b.Digest == d {
				return true
			}
		}
	}
	return false
}

// find returns the image for a tag or digest, or nil.
func (r *repository) find(name string) *image {
	if strings.Contains(name, ":") {
		return r.images[digest.Digest(name)]
	}
	return r.images[r.names[name]]
}

// tagsOf an image.
func (r *repository) tagsOf(d digest.Digest) []string {
	var all []string
	for _, tag := range slices.Sorted(maps.Keys(r.names)) {
		if r.names[tag] == d {
			all = append(all, tag)
		}
	}
	return all
}

// indexed tells whether an index names an image.
func (r *repository) indexed(d digest.Digest) bool {
	for _, i := range r.images {
		if slices.ContainsFunc(i.document.Manifests, func(m descriptor) bool { return m.Digest == d }) {
			return true
		}
	}
	return false
}

// referrers of a subject, sorted by digest.
func (r *repository) referrers(subject digest.Digest) []*image {
	var all []*image
	for _, d := range slices.Sorted(maps.Keys(r.images)) {
		if i := r.images[d]; i.document.Subject != nil && i.document.Subject.Digest == subject {
			all = append(all, i)
		}
	}
	return all
}
