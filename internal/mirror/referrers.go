// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// referrer is a manifest that refers to another: a signature, attestation or SBOM.
type referrer struct {
	*node
	subject digest.Digest // the manifest it refers to, or "" if it has a tag
	tag     string        // of a signature that is found by its tag
	// isDone reports whether it need not be written.
	isDone bool
	// isSkipped reports whether the target is without it after the run, because it refused
	// it, or has other signatures under the tag.
	isSkipped bool
}

// signatureTags are the suffixes of the tags that cosign derives from a digest.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
var signatureTags = []string{".sig", ".att", ".sbom"}

// signatureTag returns the tag of a signature of a manifest.
func signatureTag(subject digest.Digest, suffix string) string {
	return strings.Replace(subject.String(), ":", "-", 1) + suffix
}

// referrerReader reads the referrers of one image.
type referrerReader struct {
	*treeReader
	// image has the manifests of the image, which are not referrers. GitLab lists them,
	// because it takes the tag of the list of referrers for the digest of the image.
	// https://github.com/oras-project/oras/issues/2148
	image map[digest.Digest]bool

	mu       sync.Mutex
	lost     []error // referrers that are listed and cannot be read
	unlisted []error // requests that did not tell whether there are referrers
}

// readReferrers reads the referrers of manifests, those of referrers included, and
// what cosign published for them under tags. Referrers are optional: those that cannot
// be read are reported as warnings, unless the mirror is strict, or the content does
// not match its digest.
func (m *Mirror) readReferrers(ctx context.Context, i *Item, subjects []ocispec.Descriptor) ([]*referrer, error) {
	r := &referrerReader{treeReader: newTreeReader(m.Source, i.source().Repository, nil), image: map[digest.Digest]bool{}}
	for _, d := range subjects {
		r.image[d.Digest] = true
	}
	found := slices.Concat(r.readTagged(ctx, subjects), r.readListed(ctx, subjects))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	all := errors.Join(slices.Concat(r.lost, r.unlisted)...)
	if m.StrictReferrers || errors.Is(all, registry.ErrCorrupt) {
		if all != nil {
			return nil, all
		}
	}
	r.warn(m, i)
	return found, nil
}

// warn reports each referrer that was lost, and failed requests once for the image.
func (r *referrerReader) warn(m *Mirror, i *Item) {
	warn := func(format string, args ...any) {
		m.emit(Event{Kind: EventWarning, Source: i.Source, Target: i.Target, Message: fmt.Sprintf(format, args...)})
	}
	for _, err := range r.lost {
		warn("a signature or attestation is not copied: %v", err)
	}
	switch more := len(r.unlisted) - 1; {
	case more == 0:
		warn("signatures or attestations may be missing: %v", r.unlisted[0])
	case more > 0:
		warn("signatures or attestations may be missing: %v; and %d similar errors", r.unlisted[0], more)
	}
}

func (r *referrerReader) addError(errs *[]error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*errs = append(*errs, err)
}

// readListed reads what the referrers API lists for the subjects, and then what it
// lists for that.
func (r *referrerReader) readListed(ctx context.Context, subjects []ocispec.Descriptor) (all []*referrer) {
	seen := map[digest.Digest]bool{}
	for _, d := range subjects {
		seen[d.Digest] = true
	}
	for range maxDepth {
		level := collect(subjects, func(d ocispec.Descriptor) []*referrer { return r.list(ctx, d) })
		subjects = nil
		for _, f := range level {
			if !seen[f.desc.Digest] {
				seen[f.desc.Digest] = true
				subjects = append(subjects, f.desc)
			}
		}
		all = append(all, level...)
	}
	return all
}

// list reads the referrers of one manifest.
func (r *referrerReader) list(ctx context.Context, subject ocispec.Descriptor) []*referrer {
	descriptors, err := r.source.Referrers(ctx, r.repository, subject)
	if err != nil && !errors.Is(err, registry.ErrNotFound) && !errors.Is(err, registry.ErrUnsupported) {
		r.addError(&r.unlisted, err) // the list may be incomplete
	}
	if len(descriptors) > maxManifests {
		r.addError(&r.unlisted, fmt.Errorf("%s@%s has %d signatures and attestations; at most %d are read", r.repository, subject.Digest, len(descriptors), maxManifests))
		descriptors = descriptors[:maxManifests]
	}
	return collect(descriptors, func(d ocispec.Descriptor) []*referrer {
		if r.image[d.Digest] {
			return nil
		}
		n, err := r.read(ctx, d, 1)
		if err != nil {
			r.addError(&r.lost, err)
			return nil
		}
		return []*referrer{{node: n, subject: subject.Digest}}
	})
}

// readTagged reads what the tags of signatures of the subjects refer to.
func (r *referrerReader) readTagged(ctx context.Context, subjects []ocispec.Descriptor) []*referrer {
	var tags []string
	for _, d := range subjects {
		for _, suffix := range signatureTags {
			tags = append(tags, signatureTag(d.Digest, suffix))
		}
	}
	return collect(tags, func(tag string) []*referrer {
		d, err := r.source.Resolve(ctx, r.repository, tag)
		if errors.Is(err, registry.ErrNotFound) {
			return nil
		}
		if err != nil {
			r.addError(&r.unlisted, err)
			return nil
		}
		n, err := r.read(ctx, d, 1)
		if err != nil {
			r.addError(&r.lost, err)
			return nil
		}
		return []*referrer{{node: n, tag: tag}}
	})
}

// collect calls f for all values concurrently, and concatenates the results in order.
func collect[V, R any](values []V, f func(V) []R) []R {
	results := make([][]R, len(values))
	var all errgroup.Group
	all.SetLimit(maxConcurrentReads)
	for i, v := range values {
		all.Go(func() error {
			results[i] = f(v)
			return nil
		})
	}
	_ = all.Wait() // f does not fail
	return slices.Concat(results...)
}
