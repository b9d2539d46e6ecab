// SPDX-License-Identifier: Apache-2.0

// Package fakeecr emulates the behavior of a private Amazon ECR registry where it
// differs from other registries, so that a push that ECR rejects fails in tests as
// well. It serves the data plane, which is the registry protocol, and the part of
// the control plane that this project uses.
//
// The emulation was not compared with AWS. Each behavior has a link to the document
// or report that describes it. Where these disagree, the behavior has a switch.
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

// Options configure a Server. All fields are optional; Switches can be changed later.
type Options struct {
	Account string // default 123456789012
	Region  string // default eu-central-1
	Dir     string // directory for blobs; default: in memory
	Switches
}

// Switches select the behavior of a Server. They can be changed at any time.
type Switches struct {
	// BlobMounting is the account setting BLOB_MOUNTING.
	// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
	BlobMounting bool
	// Abort aborts the connection of an upload to a repository that does not exist,
	// instead of a 404 response. Both were reported.
	// https://github.com/dotnet/sdk-container-builds/pull/279
	Abort bool
	// Anonymous disables authentication.
	Anonymous bool
	// TokenLife is the lifetime of new tokens; default 12 hours.
	TokenLife time.Duration
	// TokenUses is the number of requests after which a token expires; 0 means no
	// limit.
	TokenUses int
	// ExpiredStatus is the status of the response to an expired token; default 403.
	// Reports agree on the code DENIED, but do not mention the status.
	ExpiredStatus int
	// Quotas are the quotas by action. Actions that are not in the map are unlimited.
	Quotas map[string]Quota
	// RetryAfter is the header of 429 responses, unless it is "".
	RetryAfter string
	// ValidatorLag is how long after its upload a blob is unknown to the validation of
	// manifests.
	// https://github.com/clowdhaus/ocync/pull/104
	ValidatorLag time.Duration
	// RefuseReferrer reports whether manifests with a subject are rejected with 405,
	// by artifact type.
	// https://github.com/aws/containers-roadmap/issues/2783
	RefuseReferrer func(artifactType string) bool
	// ImmutableStatus is the status of the response to a push to an immutable tag;
	// default 400.
	ImmutableStatus int
	// Direct serves blobs without the redirect to S3.
	Direct bool
	// Denied are the IAM actions that are not allowed.
	Denied []string
}

// Quota limits the requests of an action, as a token bucket.
type Quota struct {
	PerSecond float64
	Burst     int
}

// DefaultQuotas returns the quotas of ECR, with a burst of one second.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
func DefaultQuotas() map[string]Quota {
	return map[string]Quota{
		PutImage: {10, 10}, InitiateLayerUpload: {100, 100}, CompleteLayerUpload: {100, 100}, UploadLayerPart: {500, 500},
		BatchCheckLayerAvailability: {1000, 1000}, BatchGetImage: {2000, 2000}, GetDownloadURLForLayer: {3000, 3000},
	}
}

// Server is a fake ECR registry. It is safe for concurrent use.
type Server struct {
	Account, Region string

	blobs *blobStore
	start time.Time

	mu           sync.Mutex
	switches     Switches
	repositories map[string]*repository
	uploads      map[string]*upload
	tokens       map[string]*token
	buckets      map[string]*bucket
	faults       []*Fault
	log          []Request
	lastUpload   int
	address      string // HOST:PORT of the server of Start
}

// New returns a server without repositories.
func New(o Options) *Server {
	s := &Server{Account: o.Account, Region: o.Region, blobs: newBlobStore(o.Dir), start: time.Now(), switches: o.Switches,
		repositories: map[string]*repository{}, uploads: map[string]*upload{}, tokens: map[string]*token{}, buckets: map[string]*bucket{}}
	if s.Account == "" {
		s.Account = "123456789012"
	}
	if s.Region == "" {
		s.Region = "eu-central-1"
	}
	return s
}

// Host returns the host of the registry in image references.
func (s *Server) Host() string { return s.Account + ".dkr.ecr." + s.Region + ".amazonaws.com" }

// storageHost returns the S3 host to which downloads are redirected.
func (s *Server) storageHost() string {
	return "prod-" + s.Region + "-starport-layer-bucket.s3." + s.Region + ".amazonaws.com"
}

// Start serves HTTP on a free loopback port until stop is called. The URL is the
// endpoint of the control plane. Clients use Dial to connect to the data plane by
// its host.
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

// Dial connects to the server for all hosts of AWS, and to the given address for
// other hosts.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".amazonaws.com") {
		s.mu.Lock()
		address = s.address
		s.mu.Unlock()
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Set changes the switches.
func (s *Server) Set(change func(*Switches)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.switches)
	clear(s.buckets) // the quotas may have changed
}

func (s *Server) currentSwitches() Switches {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.switches
}

// Request is an entry of the request log.
type Request struct {
	Time       time.Time
	Took       time.Duration
	Host       string
	Method     string
	Path       string
	Action     string // IAM action, or ""
	Repository string
	Name       string // tag, digest or upload ID
	Status     int    // 0 if the connection was aborted
	Sent, Got  int64  // bytes of the response and request bodies
	Images     int    // identified by a request of the control plane
	Deleted    int    // images
}

func (r Request) String() string { return fmt.Sprintf("%s %s: %d", r.Method, r.Path, r.Status) }

// Log returns the requests since the last ResetLog, in order of completion.
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

// Count returns the number of logged requests that match.
func (s *Server) Count(match func(Request) bool) (n int) {
	for _, r := range s.Log() {
		if match(r) {
			n++
		}
	}
	return n
}

// Counts returns the number of logged requests by action, without those that were
// rejected with 401, 403 or 429.
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

// ServeHTTP serves the data plane and the control plane.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(w, r)
	defer func() {
		aborted := recover()
		c.Took = time.Since(c.Time)
		if aborted != nil {
			c.Status = 0
		}
		s.mu.Lock()
		s.log = append(s.log, c.Request)
		s.mu.Unlock()
		if aborted != nil {
			panic(aborted)
		}
	}()
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		s.serveControl(c)
	case strings.HasPrefix(r.URL.Path, storagePath):
		s.serveStorage(c)
	default:
		s.serveData(c)
	}
}

// abort closes the connection without a response, or in the middle of one.
func abort() { panic(http.ErrAbortHandler) }
