// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	gcr "github.com/google/go-containerregistry/pkg/registry"
)

// server is a real registry in this process. Unlike that of go-containerregistry
// alone it knows which repository has which blob, as registries do.
type server struct {
	host   string
	mounts bool // share blobs between repositories

	mu    sync.Mutex
	log   []string // "GET /v2/…"
	has   map[string]bool
	fault func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

var (
	blobPath   = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]+)$`)
	uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)
)

func serve(t testing.TB) *server {
	t.Helper()
	s := &server{mounts: true, has: map[string]bool{}}
	real := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)), gcr.WithReferrersSupport(true))
	repositories := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.repositories(w, r, real) })
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.log = append(s.log, r.Method+" "+r.URL.Path)
		fault := s.fault
		s.mu.Unlock()
		if fault != nil {
			fault(w, r, repositories)
			return
		}
		repositories(w, r)
	}))
	t.Cleanup(h.Close)
	s.host = strings.TrimPrefix(h.URL, "http://")
	return s
}

func (s *server) repositories(w http.ResponseWriter, r *http.Request, next http.Handler) {
	q := r.URL.Query()
	if m := blobPath.FindStringSubmatch(r.URL.Path); m != nil {
		s.mu.Lock()
		has := s.has[m[1]+"@"+m[2]]
		s.mu.Unlock()
		if !has {
			http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, http.StatusNotFound)
			return
		}
	}
	m := uploadPath.FindStringSubmatch(r.URL.Path)
	if mount := q.Get("mount"); m != nil && mount != "" {
		s.mu.Lock()
		ok := s.mounts && s.has[q.Get("from")+"@"+mount]
		s.has[m[1]+"@"+mount] = s.has[m[1]+"@"+mount] || ok
		s.mu.Unlock()
		if ok {
			w.Header().Set("Location", "/v2/"+m[1]+"/blobs/"+mount)
			w.WriteHeader(http.StatusCreated)
			return
		}
		r = r.Clone(r.Context())
		r.URL.RawQuery = ""
	}
	// It keeps others out while it reads a body, which may be one of its own blobs.
	text, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	next.ServeHTTP(w, r)
	if d := q.Get("digest"); m != nil && d != "" {
		s.mu.Lock()
		s.has[m[1]+"@"+d] = true
		s.mu.Unlock()
	}
}

// requests counts those of a method that have something in their path, since the
// last call of forget.
func (s *server) requests(method, part string) (count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.log {
		if strings.HasPrefix(r, method+" ") && strings.Contains(r, part) {
			count++
		}
	}
	return count
}

// fetched are the digests of the blobs that were asked for.
func (s *server) fetched() (digests []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.log {
		if m := blobPath.FindStringSubmatch(strings.TrimPrefix(r, "GET ")); m != nil {
			digests = append(digests, m[2])
		}
	}
	return digests
}

func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

func (s *server) break_(fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}
