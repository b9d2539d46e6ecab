// SPDX-License-Identifier: Apache-2.0

// Package mirror copies images into a private registry, and reports which images are
// missing there.
//
// One plan covers all images. A blob that several images share is read from the
// source once. It is written once if the target mounts blobs across repositories;
// otherwise one read feeds all writes. The tag of an image is written last, so a tag
// never refers to an incomplete image, and all content is checked against its digest.
//
// There is no journal: each run compares the source with the target. An interrupted
// run is started again and copies what is still missing.
package mirror

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// Job is one image to be copied.
type Job struct {
	// Source and Target are references, each with a tag, a digest or both.
	Source, Target string
	// Locked are the digests in the lock file. If it is nil, the source is resolved.
	Locked *Locked
	// Why lists where the image was found, for the lock file.
	Why []string
	// Chart is the Helm chart that is copied, for the lock file; nil for an image.
	Chart *lock.Chart
	// Refused is why the image must not be copied, such as a source that the rules do
	// not map. Its item fails with this error, without a request.
	Refused error
}

// Locked are the digests that a lock file has for an image.
type Locked struct {
	Digest       digest.Digest // in the target
	SourceDigest digest.Digest // in the source; the same unless platforms were left out
	// Referrers are the digests of signatures, attestations and SBOMs.
	Referrers []digest.Digest
}

// Source is where images are read. Repositories include their host. Errors are those
// of package registry.
type Source interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
	Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error)
	// Blob returns a reader that fails at the end if the content does not match the
	// digest.
	Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error)
	HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error)
	Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error)
}

// Target is where images are written.
type Target interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
	// Fetch is Resolve and Manifest in one request.
	Fetch(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, []byte, error)
	Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error)
	Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error)
	HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error)
	Upload(ctx context.Context, repository string, d ocispec.Descriptor, content io.Reader) error
	// Mount returns false if the registry does not mount the blob.
	Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error)
	// PutManifest writes a manifest, without a tag if tag is empty.
	PutManifest(ctx context.Context, repository string, d ocispec.Descriptor, raw []byte, tag string) error
}

// Repositories creates the repositories of targets where a push does not, such as
// ECR.
type Repositories interface {
	// Missing returns those of the repositories that do not exist.
	Missing(ctx context.Context, repositories []string) ([]string, error)
	// Create creates a repository. It succeeds if the repository exists.
	Create(ctx context.Context, repository string) error
	// SharesBlobs reports whether a repository can mount blobs of another.
	SharesBlobs(ctx context.Context) (bool, error)
}

// Mirror copies images. Source and Target are required.
type Mirror struct {
	Source       Source
	Target       Target
	Repositories Repositories // nil if a push creates repositories
	// Parallel is the number of concurrent transfers; default 32.
	Parallel int
	// Platforms, as returned by ParsePlatforms, are the ones to keep of an index, which
	// changes its digest. Empty keeps all.
	Platforms []string
	// Overwrite moves tags of the target that refer to another image.
	Overwrite bool
	// Referrers copies signatures, attestations and SBOMs as well.
	Referrers bool
	// StrictReferrers fails an image whose referrers cannot be read, or are not accepted
	// by the target. Default: a warning.
	StrictReferrers bool
	// CompareOnly makes plans that cannot be run: images that are missing or differ are
	// not read.
	CompareOnly bool
	// WithoutSource looks images without a locked digest up in the target alone: sources
	// are not asked. It requires CompareOnly.
	WithoutSource bool
	// Events is called with each event, from several goroutines. May be nil.
	Events func(Event)
	// Planning counts while Plan or ReadContent runs. May be nil.
	Planning *PlanProgress
}

// PlanProgress counts the images that are compared or read, and the blobs that are
// looked up in the target.
type PlanProgress struct {
	Images, ImagesDone atomic.Int64
	Blobs, BlobsDone   atomic.Int64
}

func (m *Mirror) planning() *PlanProgress {
	if m.Planning == nil {
		return &PlanProgress{}
	}
	return m.Planning
}

// Event is something that happened to an image or a repository.
type Event struct {
	Kind    EventKind `json:"event"`
	Source  string    `json:"source,omitempty"`
	Target  string    `json:"target,omitempty"` // reference, or the name of a repository
	Digest  string    `json:"digest,omitempty"`
	Message string    `json:"message,omitempty"`
}

// EventKind is the kind of an event.
type EventKind string

// The kinds of events.
const (
	EventPlanned   EventKind = "planned"   // an image has to be copied
	EventUnchanged EventKind = "unchanged" // an image is present
	EventCreated   EventKind = "created"   // a repository was created
	EventCopied    EventKind = "copied"    // an image was copied
	EventFailed    EventKind = "failed"    // an image was not copied
	EventWarning   EventKind = "warning"
)

func (m *Mirror) emit(e Event) {
	if m.Events != nil {
		m.Events(e)
	}
}

func (m *Mirror) parallel() int {
	if m.Parallel > 0 {
		return m.Parallel
	}
	return 32
}
