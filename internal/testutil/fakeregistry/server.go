// SPDX-License-Identifier: Apache-2.0

// Package fakeregistry is an in-memory OCI registry for tests, with a request
// log and fault injection, and builders for the images to push to it.
//
// Storage and protocol are those of go-containerregistry. In addition, a blob
// is visible only in the repositories to which it was uploaded or mounted, as in
// production registries. The builders and readers use go-containerregistry as
// well, so tests never verify the client under test with itself.
package fakeregistry

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Server is a running registry. It is safe for concurrent use.
type Server struct {
	// Host is the registry's name in image references, such as 127.0.0.1:41234.
	Host string

	registry http.Handler

	mu     sync.Mutex
	blobs  map[blobLocation]bool
	mounts bool
	fault  Fault
	log    []Request
}

// Request is an entry of the request log.
type Request struct {
	Method, Path string
}

type blobLocation struct {
	repository, digest string
}

var (
	blobPath   = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]+)$`)
	uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)
)

// Start starts an empty registry, which is stopped at the end of the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{
		registry: registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)),
		blobs:    map[blobLocation]bool{},
		mounts:   true,
	}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	tb.Cleanup(server.Close)
	s.Host = strings.TrimPrefix(server.URL, "http://")
	return s
}

// SetFault makes a fault handle all further requests; nil removes the fault.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// DisableMounts makes the registry respond to mounts with an upload session, as
// registries do that do not support mounting.
func (s *Server) DisableMounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounts = false
}

// Log returns the requests since the last ResetLog, in order of arrival.
func (s *Server) Log() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// ResetLog empties the request log.
func (s *Server) ResetLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Count returns the number of logged requests with the method, and with the text
// in their path. An empty argument matches every request.
func (s *Server) Count(method, text string) (count int) {
	for _, r := range s.Log() {
		if (method == "" || r.Method == method) && strings.Contains(r.Path, text) {
			count++
		}
	}
	return count
}

// FetchedBlobs returns the digests of the blobs that were requested with GET.
func (s *Server) FetchedBlobs() (digests []string) {
	for _, r := range s.Log() {
		if m := blobPath.FindStringSubmatch(r.Path); m != nil && r.Method == http.MethodGet {
			digests = append(digests, m[2])
		}
	}
	return digests
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log = append(s.log, Request{r.Method, r.URL.Path})
	fault := s.fault
	s.mu.Unlock()
	next := http.HandlerFunc(s.serveRepository)
	if fault == nil {
		next(w, r)
		return
	}
	fault(w, r, next)
}

// serveRepository handles a request, and keeps track of the blobs of each
// repository.
func (s *Server) serveRepository(w http.ResponseWriter, r *http.Request) {
	if m := blobPath.FindStringSubmatch(r.URL.Path); m != nil && !s.hasBlob(blobLocation{m[1], m[2]}) {
		http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, http.StatusNotFound)
		return
	}
	upload := uploadPath.FindStringSubmatch(r.URL.Path)
	query := r.URL.Query()
	if mount := query.Get("mount"); upload != nil && mount != "" {
		if s.mount(blobLocation{upload[1], mount}, query.Get("from")) {
			w.Header().Set("Location", "/v2/"+upload[1]+"/blobs/"+mount)
			w.WriteHeader(http.StatusCreated)
			return
		}
		r = r.Clone(r.Context())
		r.URL.RawQuery = "" // an ordinary upload
	}
	// The registry holds a lock while it reads a body, which may be the content of
	// one of its own blobs.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	recorder := &statusRecorder{ResponseWriter: w}
	s.registry.ServeHTTP(recorder, r)
	if digest := query.Get("digest"); upload != nil && digest != "" && recorder.status == http.StatusCreated {
		s.mu.Lock()
		s.blobs[blobLocation{upload[1], digest}] = true
		s.mu.Unlock()
	}
}

func (s *Server) hasBlob(l blobLocation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blobs[l]
}

func (s *Server) mount(l blobLocation, from string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mounts || !s.blobs[blobLocation{from, l.digest}] {
		return false
	}
	s.blobs[l] = true
	return true
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}
