// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// upload is one that has begun. Once bytes of it have arrived it only goes on
// where they end.
type upload struct {
	id, repository string

	mu     sync.Mutex
	sink   *sink
	digest digest.Digester
	offset int64
	small  bool // the last part was below what parts but the last must have
	broken bool // a part was cut off
}

// minPart is what each part but the last must have.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
const minPart = 5 << 20

// beginUpload mounts where it can, and otherwise begins an upload.
func (s *Server) beginUpload(c *call) {
	q := c.r.URL.Query()
	d := digest.Digest(q.Get("mount"))
	if d != "" && s.mount(c, d, q.Get("from")) {
		c.reply.Header().Set("Location", "/v2/"+c.Repository+"/blobs/"+d.String())
		c.reply.Header().Set("Docker-Content-Digest", d.String())
		c.send(http.StatusCreated, "", nil)
		return
	}
	sink, err := s.blobs.sink()
	if err != nil {
		c.fail(http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	s.mu.Lock()
	s.serial++
	u := &upload{id: fmt.Sprintf("upload-%d", s.serial), repository: c.Repository, sink: sink, digest: digest.SHA256.Digester()}
	s.uploads[u.id] = u
	s.mu.Unlock()
	u.locate(c)
	c.send(http.StatusAccepted, "", nil)
}

// locate tells the client where to go on, by a whole URL as ECR does.
func (u *upload) locate(c *call) {
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	c.reply.Header().Set("Location", scheme+"://"+c.Host+"/v2/"+u.repository+"/blobs/uploads/"+u.id)
	c.reply.Header().Set("Docker-Upload-UUID", u.id)
	c.reply.Header().Set("Range", fmt.Sprintf("0-%d", max(0, u.offset-1)))
}

// mount lets a repository have a blob of another one: only if the account wants
// that, both are encrypted in the same way, and a manifest there names the blob.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
// https://github.com/aws/containers-roadmap/issues/2860
func (s *Server) mount(c *call, d digest.Digest, from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	source, ok := s.repositories[from]
	to := s.repositories[c.Repository]
	if !ok || !c.switches.BlobMounting || source.encryption != to.encryption || source.kmsKey != to.kmsKey || !source.committed(d) {
		return false
	}
	to.blobs[d] = time.Now()
	return true
}

func (s *Server) upload(c *call) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.uploads[c.Name]
	if !ok || u.repository != c.Repository {
		return nil
	}
	return u
}

func (c *call) noUpload() {
	c.fail(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", fmt.Sprintf("The upload with id '%s' does not exist", c.Name))
}

// patchUpload answers 201, where the protocol says 202.
// https://github.com/dotnet/sdk-container-builds/pull/279
func (s *Server) patchUpload(c *call) {
	u := s.upload(c)
	if u == nil {
		c.noUpload()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.receive(c) {
		u.locate(c)
		c.send(http.StatusCreated, "", nil)
	}
}

// receive takes a part. It answers those that it does not take.
func (u *upload) receive(c *call) bool {
	if first := u.first(c); u.broken || first != u.offset {
		c.fail(http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", fmt.Sprintf("First byte of the layer part is %d instead of %d", first, u.offset))
		return false
	}
	if u.small && c.r.ContentLength != 0 {
		c.fail(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "All layer parts except the last part should be at least 5MB")
		return false
	}
	u.broken = true // should the connection be cut
	n, err := io.Copy(io.MultiWriter(u.sink, u.digest.Hash()), c.r.Body)
	u.offset += n
	if err != nil {
		cut()
	}
	u.broken = false
	u.small = n > 0 && n < minPart
	return true
}

// first byte of a part, as the client sees it.
func (u *upload) first(c *call) int64 {
	at, _, ok := strings.Cut(c.r.Header.Get("Content-Range"), "-")
	if first, err := strconv.ParseInt(at, 10, 64); ok && err == nil {
		return first
	}
	if u.broken {
		return 0
	}
	return u.offset
}

// completeUpload makes a blob, if it is what the client says it is.
func (s *Server) completeUpload(c *call) {
	u := s.upload(c)
	if u == nil {
		c.noUpload()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.receive(c) {
		return
	}
	s.mu.Lock()
	delete(s.uploads, u.id)
	s.mu.Unlock()
	want := digest.Digest(c.r.URL.Query().Get("digest"))
	if refused := u.refuse(c, want, s.Account); refused {
		_ = u.sink.drop() // at worst a file is left in the test's folder
		return
	}
	if err := s.blobs.keep(u.sink, want); err != nil {
		c.fail(http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	s.mu.Lock()
	if r, ok := s.repositories[c.Repository]; ok {
		r.blobs[want] = time.Now()
	}
	s.mu.Unlock()
	c.reply.Header().Set("Location", "/v2/"+c.Repository+"/blobs/"+want.String())
	c.reply.Header().Set("Docker-Content-Digest", want.String())
	c.send(http.StatusCreated, "", nil)
}

// refuse answers what cannot become a blob. That empty ones cannot is ECR's own.
// https://github.com/devcontainers/cli/issues/814
func (u *upload) refuse(c *call, want digest.Digest, account string) bool {
	switch {
	case u.offset == 0:
		c.fail(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", fmt.Sprintf("The upload with id '%s' in the repository with name '%s' in registry with id '%s' cannot be completed because it does not have any parts", u.id, u.repository, account))
	case u.digest.Digest() != want:
		c.fail(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("The layer digest calculation performed by ECR upon receipt of the layer, %s, does not match the digest specified, %s", u.digest.Digest(), want))
	default:
		return false
	}
	return true
}
