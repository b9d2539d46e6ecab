// SPDX-License-Identifier: Apache-2.0

// Package fakeecr is a registry with the habits of a private Amazon ECR, on
// which other registries differ: what a push fails at there fails here. It has
// the data plane, which speaks the Docker protocol, and as much of the control
// plane as our programs use, on one state.
//
// Nothing of it was compared with AWS. Each habit stands beside the document or
// the report that it is taken from; where they differ there is a switch.
package fakeecr

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are what cannot change later. All are optional.
type Options struct {
	Account string // default 123456789012
	Region  string // default eu-central-1
	Dir     string // a folder for blobs; default: memory
	Switches
}

// Switches turn habits on and off, also while requests are under way.
type Switches struct {
	// BlobMounting is the account's setting of that name.
	// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
	BlobMounting bool
	// Abort cuts the connection of an upload to a repository that is missing,
	// instead of 404. Both are reported.
	// https://github.com/dotnet/sdk-container-builds/pull/279
	Abort bool
	// Anonymous asks for no password.
	Anonymous bool
	// TokenLife is that of a token; default 12 hours.
	TokenLife time.Duration
	// TokenUses is after how many requests a token expires; 0: never.
	TokenUses int
	// ExpiredStatus answers an expired token; default 403. That ECR says DENIED is
	// reported often, with which status is not.
	ExpiredStatus int
	// Quotas are requests a second by action; what is missing has none.
	Quotas map[string]Quota
	// RetryAfter is sent with 429, if it is not "".
	RetryAfter string
	// ValidatorLag is how long after its upload a manifest may not name a blob.
	// https://github.com/clowdhaus/ocync/pull/104
	ValidatorLag time.Duration
	// RefuseReferrer answers 405 to manifests with a subject, by artifact type.
	// https://github.com/aws/containers-roadmap/issues/2783
	RefuseReferrer func(artifactType string) bool
	// ImmutableStatus answers a push to an immutable tag; default 400.
	ImmutableStatus int
	// Direct serves blobs itself. ECR sends clients to S3 for them.
	Direct bool
	// Denied are IAM actions that the caller lacks.
	Denied []string
}

// Quota is how many requests of an action are granted.
type Quota struct {
	PerSecond float64
	Burst     int
}

// DefaultQuotas are ECR's, with a burst of one second.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
func DefaultQuotas() map[string]Quota {
	return map[string]Quota{
		PutImage: {10, 10}, InitiateLayerUpload: {100, 100}, CompleteLayerUpload: {100, 100}, UploadLayerPart: {500, 500},
		BatchCheckLayerAvailability: {1000, 1000}, BatchGetImage: {2000, 2000}, GetDownloadURLForLayer: {3000, 3000},
	}
}

// Server is the registry. It is safe for concurrent use.
type Server struct {
	Account, Region string

	blobs *blobs
	start time.Time

	mu           sync.Mutex
	switches     Switches
	repositories map[string]*repository
	uploads      map[string]*upload
	tokens       map[string]*token
	buckets      map[string]*bucket
	faults       []*Fault
	log          []Request
	serial       int

	address string // of Start
}

// New returns a registry without repositories.
func New(o Options) *Server {
	s := &Server{Account: o.Account, Region: o.Region, blobs: newBlobs(o.Dir), start: time.Now(), switches: o.Switches,
		repositories: map[string]*repository{}, uploads: map[string]*upload{}, tokens: map[string]*token{}, buckets: map[string]*bucket{}}
	if s.Account == "" {
		s.Account = "123456789012"
	}
	if s.Region == "" {
		s.Region = "eu-central-1"
	}
	return s
}

// Host is the name by which clients know the registry.
func (s *Server) Host() string { return s.Account + ".dkr.ecr." + s.Region + ".amazonaws.com" }

// storage is where clients are sent for blobs.
func (s *Server) storage() string {
	return "prod-" + s.Region + "-starport-layer-bucket.s3." + s.Region + ".amazonaws.com"
}

// Start serves on a free port of this machine, by HTTP, until stop is called.
// The URL is the endpoint of the control plane. To reach the data plane under
// its name, clients dial by Dial.
func (s *Server) Start() (url string, stop func()) {
	h := httptest.NewServer(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = h.Listener.Addr().String()
	return h.URL, func() {
		h.CloseClientConnections()
		h.Close()
	}
}

// Dial connects to the registry, whichever name of AWS is asked for, and to
// everything else as usual.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".amazonaws.com") {
		s.mu.Lock()
		address = s.address
		s.mu.Unlock()
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Set changes switches.
func (s *Server) Set(change func(*Switches)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.switches)
	clear(s.buckets) // the quotas may be others
}

func (s *Server) get() Switches {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.switches
}

// Request is one request, as it was answered.
type Request struct {
	Time       time.Time
	Took       time.Duration
	Host       string
	Method     string
	Path       string
	Action     string // IAM action; "" for what has none
	Repository string
	Name       string // tag, digest or upload
	Status     int    // 0: the connection was cut
	Sent, Got  int64  // bytes of bodies
}

// String is for messages of tests.
func (r Request) String() string { return fmt.Sprintf("%s %s: %d", r.Method, r.Path, r.Status) }

// Log returns the requests so far, in the order of their ends.
func (s *Server) Log() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// ResetLog empties the log.
func (s *Server) ResetLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// Count counts those of the log that match.
func (s *Server) Count(match func(Request) bool) (n int) {
	for _, r := range s.Log() {
		if match(r) {
			n++
		}
	}
	return n
}

// Counts are the requests by action, without those that were not let in: 401,
// 403 and 429.
func (s *Server) Counts() map[string]int {
	counts := map[string]int{}
	for _, r := range s.Log() {
		switch r.Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		default:
			counts[r.Action]++
		}
	}
	return counts
}

// ServeHTTP is both planes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(w, r)
	defer func() {
		cut := recover()
		c.Took = time.Since(c.Time)
		if cut != nil {
			c.Status = 0
		}
		s.mu.Lock()
		s.log = append(s.log, c.Request)
		s.mu.Unlock()
		if cut != nil {
			panic(cut)
		}
	}()
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		s.control(c)
	case strings.HasPrefix(r.URL.Path, storagePath):
		s.serveStorage(c)
	default:
		s.data(c)
	}
}

// cut ends the connection without an answer, or in the middle of one.
func cut() { panic(http.ErrAbortHandler) }
