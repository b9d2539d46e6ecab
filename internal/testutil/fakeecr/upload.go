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

// upload is an upload in progress. It continues only at the end of the content that
// was received.
type upload struct {
	id, repository string

	mu     sync.Mutex
	sink   *sink
	digest digest.Digester
	offset int64
	small  bool // the last part was smaller than minPart
	broken bool // the connection of a part was closed
}

// minPart is the minimum size in bytes of all parts but the last.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
const minPart = 5 << 20

// startUpload mounts a blob if possible, and starts an upload otherwise.
func (s *Server) startUpload(c *call) {
	q := c.r.URL.Query()
	d := digest.Digest(q.Get("mount"))
	if d != "" && s.mount(c, d, q.Get("from")) {
		c.reply.Header().Set("Location", "/v2/"+c.Repository+"/blobs/"+d.String())
		c.reply.Header().Set("Docker-Content-Digest", d.String())
		c.send(http.StatusCreated, "", nil)
		return
	}
	sink, err := s.blobs.newSink()
	if err != nil {
		c.fail(http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	s.mu.Lock()
	s.lastUpload++
	u := &upload{id: fmt.Sprintf("upload-%d", s.lastUpload), repository: c.Repository, sink: sink, digest: digest.SHA256.Digester()}
	s.uploads[u.id] = u
	s.mu.Unlock()
	u.setLocation(c)
	c.send(http.StatusAccepted, "", nil)
}

// setLocation sets the headers with which the client continues. The location is an
// absolute URL, as in ECR.
func (u *upload) setLocation(c *call) {
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	c.reply.Header().Set("Location", scheme+"://"+c.Host+"/v2/"+u.repository+"/blobs/uploads/"+u.id)
	c.reply.Header().Set("Docker-Upload-UUID", u.id)
	c.reply.Header().Set("Range", fmt.Sprintf("0-%d", max(0, u.offset-1)))
}

// mount mounts a blob of another repository. It requires the account setting, the
// same encryption of both repositories, and a manifest that refers to the blob.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
// https://github.com/aws/containers-roadmap/issues/2860
func (s *Server) mount(c *call, d digest.Digest, from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	source, ok := s.repositories[from]
	to := s.repositories[c.Repository]
	if !ok || !c.switches.BlobMounting || source.encryption != to.encryption || source.kmsKey != to.kmsKey || !source.isCommitted(d) {
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

func (c *call) uploadNotFound() {
	c.fail(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", fmt.Sprintf("The upload with id '%s' does not exist", c.Name))
}

// patchUpload responds with 201, whereas the protocol requires 202.
// https://github.com/dotnet/sdk-container-builds/pull/279
func (s *Server) patchUpload(c *call) {
	u := s.upload(c)
	if u == nil {
		c.uploadNotFound()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.receive(c) {
		u.setLocation(c)
		c.send(http.StatusCreated, "", nil)
	}
}

// receive appends a part. It sends the response if the part is rejected.
func (u *upload) receive(c *call) bool {
	if first := u.firstByte(c); u.broken || first != u.offset {
		c.fail(http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", fmt.Sprintf("First byte of the layer part is %d instead of %d", first, u.offset))
		return false
	}
	if u.small && c.r.ContentLength != 0 {
		c.fail(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "All layer parts except the last part should be at least 5MB")
		return false
	}
	u.broken = true // unless the part is complete
	n, err := io.Copy(io.MultiWriter(u.sink, u.digest.Hash()), c.r.Body)
	u.offset += n
	if err != nil {
		abort()
	}
	u.broken = false
	u.small = n > 0 && n < minPart
	return true
}

// firstByte returns the offset at which the client continues.
func (u *upload) firstByte(c *call) int64 {
	start, _, ok := strings.Cut(c.r.Header.Get("Content-Range"), "-")
	if first, err := strconv.ParseInt(start, 10, 64); ok && err == nil {
		return first
	}
	if u.broken {
		return 0
	}
	return u.offset
}

// completeUpload stores the blob if it has the digest that the client sent.
func (s *Server) completeUpload(c *call) {
	u := s.upload(c)
	if u == nil {
		c.uploadNotFound()
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
	if !u.validate(c, want, s.Account) {
		_ = u.sink.drop() // at worst, a file remains in the directory of the test
		return
	}
	if err := s.blobs.add(u.sink, want); err != nil {
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

// validate returns false, and sends the response, if the content is not a valid
// blob. Only ECR rejects empty blobs.
// https://github.com/devcontainers/cli/issues/814
func (u *upload) validate(c *call, want digest.Digest, account string) bool {
	switch {
	case u.offset == 0:
		c.fail(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", fmt.Sprintf("The upload with id '%s' in the repository with name '%s' in registry with id '%s' cannot be completed because it does not have any parts", u.id, u.repository, account))
	case u.digest.Digest() != want:
		c.fail(http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("The layer digest calculation performed by ECR upon receipt of the layer, %s, does not match the digest specified, %s", u.digest.Digest(), want))
	default:
		return true
	}
	return false
}
