// SPDX-License-Identifier: Apache-2.0

// Package mirror copies images into a private registry, and says what is missing
// there.
//
// It plans once for all images. A blob that several of them share is read from
// the source once, and written once where the target lets repositories share
// blobs; where not, one read feeds all writes. An image gets its tag last, so no
// tag ever stands for something incomplete, and every byte is checked against
// its digest on the way.
//
// There is no journal: what the target answers is the truth. A copy that was
// killed is started again, and goes on with what is missing.
package mirror

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Job is one image to be copied.
type Job struct {
	// Source and Target are references, each with a tag, a digest or both.
	Source, Target string
	// Locked is what the source is known to be. Without it the source is asked.
	Locked *Locked
	// Why says where it was found. It is carried along.
	Why []string
}

// Locked is what a lock file knows of an image.
type Locked struct {
	Digest       digest.Digest // of the target
	SourceDigest digest.Digest // of the source; the same unless platforms are left out
}

// Source is where images come from. Repositories are named with their host.
// Errors are those of package registry.
type Source interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
	Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error)
	// Blob's last read fails if the content has not the digest.
	Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error)
	Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error)
}

// Target is where they go.
type Target interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
	HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error)
	Upload(ctx context.Context, repository string, d ocispec.Descriptor, content io.Reader) error
	// Mount returns false where the registry does not share the blob.
	Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error)
	PutManifest(ctx context.Context, repository string, d ocispec.Descriptor, text []byte, tag string) error
}

// Repositories is for targets on which a repository has to be made before the
// first push, as on ECR.
type Repositories interface {
	// Missing returns those of the repositories that do not exist.
	Missing(ctx context.Context, repositories []string) ([]string, error)
	// Create makes one. It is no error if somebody else was faster.
	Create(ctx context.Context, repository string) error
	// SharesBlobs tells whether a repository can mount a blob of another.
	SharesBlobs(ctx context.Context) (bool, error)
}

// Mirror is what copies. Source and Target are required.
type Mirror struct {
	Source       Source
	Target       Target
	Repositories Repositories // nil where a push makes them
	// Parallel is how many transfers run at once; default 32.
	Parallel int
	// Platforms, such as linux/amd64, are kept of an index; empty keeps all, and
	// with that the digest.
	Platforms []string
	// Overwrite moves tags of the target that stand for something else.
	Overwrite bool
	// Referrers copies signatures, attestations and SBOMs as well.
	Referrers bool
	// StrictReferrers fails an image whose referrers the target does not take.
	StrictReferrers bool
	// CompareOnly says that there is to be no run: of what differs, no more is read than
	// its digest.
	CompareOnly bool
	// Events are told as they happen, from several goroutines. May be nil.
	Events func(Event)
}

// Event is something that happened to an image or a repository.
type Event struct {
	Kind    EventKind `json:"event"`
	Source  string    `json:"source,omitempty"`
	Target  string    `json:"target,omitempty"` // of a repository, its name
	Digest  string    `json:"digest,omitempty"`
	Message string    `json:"message,omitempty"`
}

// EventKind is the kind of an event.
type EventKind string

// The kinds.
const (
	EventPlanned   EventKind = "planned"   // an image has to be copied
	EventUnchanged EventKind = "unchanged" // an image is there
	EventCreated   EventKind = "created"   // a repository was made
	EventCopied    EventKind = "copied"    // an image is there now
	EventFailed    EventKind = "failed"    // an image is not there
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
