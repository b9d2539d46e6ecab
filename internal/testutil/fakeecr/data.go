// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// serveData serves the data plane: authentication, quota, fault, request.
func (s *Server) serveData(c *call) {
	c.reply.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if !s.authenticate(c) {
		return
	}
	if slices.Contains(c.switches.Denied, c.Action) {
		c.fail(http.StatusForbidden, "DENIED", fmt.Sprintf("User: arn:aws:sts::%s:assumed-role/test is not authorized to perform: ecr:%s on resource: arn:aws:ecr:%s:%s:repository/%s", s.Account, c.Action, s.Region, s.Account, c.Repository))
		return
	}
	if !s.withinQuota(c.Action) {
		if c.switches.RetryAfter != "" {
			c.reply.Header().Set("Retry-After", c.switches.RetryAfter)
		}
		c.fail(http.StatusTooManyRequests, "TOOMANYREQUESTS", "Rate exceeded")
		return
	}
	if s.applyFault(c) {
		return
	}
	if c.Path == "/v2/" {
		c.send(http.StatusOK, "", nil)
		return
	}
	s.mu.Lock()
	_, exists := s.repositories[c.Repository]
	s.mu.Unlock()
	if !exists {
		if c.switches.Abort && c.kind == "uploads" {
			abort()
		}
		c.fail(http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf("The repository with name '%s' does not exist in the registry with id '%s'", c.Repository, s.Account))
		return
	}
	s.route(c)
}

func (s *Server) route(c *call) {
	switch c.kind + " " + c.Method {
	case "uploads POST":
		s.startUpload(c)
	case "uploads PATCH":
		s.patchUpload(c)
	case "uploads PUT":
		s.completeUpload(c)
	case "blobs HEAD", "blobs GET":
		s.getBlob(c)
	case "manifests HEAD", "manifests GET":
		s.getManifest(c)
	case "manifests PUT":
		s.putManifest(c)
	case "referrers GET":
		s.listReferrers(c)
	case "tags GET":
		s.listTags(c)
	default:
		// Images are deleted with BatchDeleteImage of the control plane.
		c.fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
	}
}

// storagePath is the path of blobs on the S3 host.
const storagePath = "/fakeecr-storage/"

// getBlob responds to HEAD, and redirects GET to S3.
func (s *Server) getBlob(c *call) {
	d := digest.Digest(c.Name)
	s.mu.Lock()
	_, exists := s.repositories[c.Repository].blobs[d]
	s.mu.Unlock()
	size, err := s.blobs.size(d)
	if !exists || err != nil {
		c.fail(http.StatusNotFound, "BLOB_UNKNOWN", fmt.Sprintf("Layer %s does not exist in the repository with name '%s'", d, c.Repository))
		return
	}
	c.reply.Header().Set("Docker-Content-Digest", d.String())
	switch {
	case c.Method == http.MethodHead:
		c.reply.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		c.send(http.StatusOK, "application/octet-stream", nil)
	case c.switches.Direct:
		s.serveBlob(c, d)
	default:
		host := s.storageHost()
		if c.Host != s.Host() {
			host = c.Host // the client does not use Dial
		}
		to := url.URL{Scheme: "http", Host: host, Path: storagePath + d.String(), RawQuery: "X-Amz-Signature=test"}
		c.reply.Header().Set("Location", to.String())
		c.send(http.StatusTemporaryRedirect, "", nil)
	}
}

// serveStorage serves the S3 host, which rejects requests that have both a signed
// URL and an authorization header.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
func (s *Server) serveStorage(c *call) {
	switch {
	case c.Host == s.storageHost() && c.r.Header.Get("Authorization") != "":
		c.send(http.StatusBadRequest, "application/xml", []byte(`<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>`))
	case !s.applyFault(c):
		s.serveBlob(c, digest.Digest(c.Path[len(storagePath):]))
	}
}

// serveBlob sends a blob. It supports range requests.
func (s *Server) serveBlob(c *call, d digest.Digest) {
	content, err := s.blobs.open(d)
	if err != nil {
		c.send(http.StatusNotFound, "application/xml", []byte(`<Error><Code>NoSuchKey</Code></Error>`))
		return
	}
	defer content.Close()
	c.reply.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&c.reply, c.r, "", s.start, content)
}

// listReferrers serves the referrers API of OCI 1.1.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
func (s *Server) listReferrers(c *call) {
	s.mu.Lock()
	found := s.repositories[c.Repository].referrers(digest.Digest(c.Name))
	list := []descriptor{}
	for _, i := range found {
		if want := c.r.URL.Query().Get("artifactType"); want == "" || want == i.artifactType {
			list = append(list, descriptor{i.mediaType, i.digest, int64(len(i.text)), i.artifactType, i.document.Annotations})
		}
	}
	s.mu.Unlock()
	const index = "application/vnd.oci.image.index.v1+json"
	text, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": index, "manifests": list})
	if err != nil {
		panic(err) // strings can be marshaled
	}
	c.send(http.StatusOK, index, text)
}

// listTags lists tags, paginated by the parameters n and last.
func (s *Server) listTags(c *call) {
	s.mu.Lock()
	all := slices.Sorted(maps.Keys(s.repositories[c.Repository].names))
	s.mu.Unlock()
	q := c.r.URL.Query()
	from, found := slices.BinarySearch(all, q.Get("last"))
	if found {
		from++
	}
	all = all[from:]
	if n, err := strconv.Atoi(q.Get("n")); err == nil && n > 0 && n < len(all) {
		all = all[:n]
		c.reply.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?n=%d&last=%s>; rel="next"`, c.Repository, n, all[n-1]))
	}
	text, err := json.Marshal(map[string]any{"name": c.Repository, "tags": all})
	if err != nil {
		panic(err) // strings can be marshaled
	}
	c.send(http.StatusOK, "application/json", text)
}
