// SPDX-License-Identifier: Apache-2.0

package prune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// candidate is a manifest or an index of a repository.
type candidate struct {
	Digest  digest.Digest
	Tags    []string
	IsIndex bool
	IsChart bool          // a Helm chart, which no pod uses
	Subject digest.Digest // what a referrer refers to, else empty
	Pushed  time.Time
	Size    int64 // bytes
}

// retentionPolicy decides what is retained. KeepNewest or Locked is required, and InUse.
type retentionPolicy struct {
	// KeepNewest is the number of tagged images that each repository retains, the
	// newest; 0 retains those in Locked.
	KeepNewest int
	// Locked are images to retain, as repository@digest. Nil retains by number alone.
	Locked map[string]bool
	// InUse reports whether a workload uses an image, by one of its tags or its digest.
	InUse func(repository string, c candidate) bool
	// MinAge protects untagged images that nothing refers to: a push writes them
	// before the tag.
	MinAge time.Duration
}

// Validate returns an error that names the command line's flags.
func (p retentionPolicy) Validate() error {
	switch {
	case p.KeepNewest < 0:
		return fmt.Errorf("--keep %d: keep one or more", p.KeepNewest)
	case p.KeepNewest == 0 && p.Locked == nil:
		return errors.New("nothing selects the images to keep: use --keep NUMBER for the newest of each repository, or --not-in LOCK for those of a lock file")
	case p.InUse == nil:
		return errors.New("InUse is required")
	}
	return nil
}

// choice is what can be deleted from one repository. Referrers come before their
// subjects and indexes before their manifests, as a registry requires.
type choice struct {
	Repository string
	Delete     []candidate
	Kept       int
	// Size of Delete in bytes. It includes layers that retained images share.
	Size int64
}

// childrenFunc returns the manifests that an index lists.
type childrenFunc func(ctx context.Context, repository string, c candidate) ([]digest.Digest, error)

// choose applies the policy to the images of one repository.
func choose(ctx context.Context, repository string, candidates []candidate, policy retentionPolicy, children childrenFunc, now time.Time) (choice, error) {
	g := graph{
		images:   map[digest.Digest]candidate{},
		children: map[digest.Digest][]digest.Digest{},
		retained: map[digest.Digest]bool{},
	}
	for _, c := range candidates {
		g.images[c.Digest] = c
		if !c.IsIndex {
			continue
		}
		below, err := children(ctx, repository, c)
		if err != nil {
			return choice{}, fmt.Errorf("reading index %s@%s: %w", repository, c.Digest, err)
		}
		g.children[c.Digest] = below
	}
	g.retainProtected(repository, policy)
	g.retainNewest(policy.KeepNewest)
	g.retainRecentPushes(now.Add(-policy.MinAge))
	g.retainReferrers()

	chosen := choice{Repository: repository}
	for _, c := range candidates {
		if g.retained[c.Digest] {
			chosen.Kept++
			continue
		}
		chosen.Delete = append(chosen.Delete, c)
		chosen.Size += c.Size
	}
	slices.SortFunc(chosen.Delete, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.deletionRank(), b.deletionRank()), cmp.Compare(a.Digest, b.Digest))
	})
	return chosen, nil
}

// graph is the content of one repository.
type graph struct {
	images   map[digest.Digest]candidate
	children map[digest.Digest][]digest.Digest // of an index
	retained map[digest.Digest]bool
}

// retainProtected retains images that a workload uses or a lock file lists, and charts.
func (g *graph) retainProtected(repository string, policy retentionPolicy) {
	for _, c := range g.images {
		if c.IsChart || policy.InUse(repository, c) || policy.Locked[repository+"@"+c.Digest.String()] {
			g.retain(c.Digest)
		}
	}
}

// retainNewest retains the tagged images that were pushed last.
func (g *graph) retainNewest(count int) {
	var tagged []candidate
	for _, c := range g.images {
		if len(c.Tags) > 0 && !c.isSignature() {
			tagged = append(tagged, c)
		}
	}
	slices.SortFunc(tagged, func(a, b candidate) int { return cmp.Or(b.Pushed.Compare(a.Pushed), cmp.Compare(a.Digest, b.Digest)) })
	for _, c := range tagged[:min(count, len(tagged))] {
		g.retain(c.Digest)
	}
}

// retainRecentPushes retains untagged images that may be part of an unfinished push.
func (g *graph) retainRecentPushes(since time.Time) {
	listed := map[digest.Digest]bool{}
	for _, below := range g.children {
		for _, d := range below {
			listed[d] = true
		}
	}
	for _, c := range g.images {
		if len(c.Tags) == 0 && c.Subject == "" && !listed[c.Digest] && c.Pushed.After(since) {
			g.retain(c.Digest)
		}
	}
}

// retainReferrers retains referrers of retained images, and their own referrers.
func (g *graph) retainReferrers() {
	for {
		before := len(g.retained)
		for _, c := range g.images {
			if slices.ContainsFunc(c.subjects(), func(d digest.Digest) bool { return g.retained[d] }) {
				g.retain(c.Digest)
			}
		}
		if len(g.retained) == before {
			return
		}
	}
}

// retain retains an image and everything that it lists.
func (g *graph) retain(d digest.Digest) {
	if g.retained[d] {
		return
	}
	g.retained[d] = true
	for _, child := range g.children[d] {
		g.retain(child)
	}
}

// deletionRank orders deletions: referrers, indexes, manifests.
func (c candidate) deletionRank() int {
	switch {
	case c.Subject != "", c.isSignature():
		return 0
	case c.IsIndex:
		return 1
	}
	return 2
}

// subjects returns what the image refers to.
func (c candidate) subjects() (all []digest.Digest) {
	if c.Subject != "" {
		all = append(all, c.Subject)
	}
	for _, tag := range c.Tags {
		if d := signedDigest(tag); d != "" {
			all = append(all, d)
		}
	}
	return all
}

// isSignature reports whether the image is a signature or an SBOM of cosign 2, by its tags.
// It has several if it is the same for several images.
func (c candidate) isSignature() bool {
	return len(c.Tags) > 0 && !slices.ContainsFunc(c.Tags, func(tag string) bool { return signedDigest(tag) == "" })
}

// signedDigest returns the subject of a signature of cosign 2, which has no subject field:
// its tag, sha256-….sig, contains the digest. It is "" for other tags.
func signedDigest(tag string) digest.Digest {
	hex, ok := strings.CutPrefix(tag, "sha256-")
	if !ok {
		return ""
	}
	hex, _, _ = strings.Cut(hex, ".")
	d := digest.NewDigestFromEncoded(digest.SHA256, hex)
	if d.Validate() != nil {
		return ""
	}
	return d
}
