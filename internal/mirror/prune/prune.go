// SPDX-License-Identifier: Apache-2.0

// Package prune chooses which images of the private registry nobody needs any
// more. It only chooses; nothing here deletes.
//
// It errs on the side of keeping: an image stays if a rule keeps it, a pod uses
// it, something that stays refers to it, or it is so young that somebody may be
// in the middle of a push.
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

// Image is a manifest or an index of a repository.
type Image struct {
	Digest  digest.Digest
	Tags    []string
	Index   bool
	Subject digest.Digest // of a referrer, what it refers to
	Pushed  time.Time
	Size    int64
}

// Rule says what stays. One of the first two is required.
type Rule struct {
	// Keep is how many images stay in each repository, the newest; 0 for all that
	// Locked does not name.
	Keep int
	// Locked are the images that stay, as repository@digest; nil to keep by number
	// alone.
	Locked map[string]bool
	// Used says that a pod uses an image, by one of its tags or by its digest.
	Used func(repository string, i Image) bool
	// Young images stay that nothing refers to: a push writes them first.
	Young time.Duration
}

// Validate returns what is wrong with the rule.
func (r Rule) Validate() error {
	switch {
	case r.Keep < 0:
		return fmt.Errorf("--keep %d: keep one or more", r.Keep)
	case r.Keep == 0 && r.Locked == nil:
		return errors.New("say what stays: --keep NUMBER of the newest in each repository, or --not-in LOCK for what a lock file names")
	case r.Used == nil:
		return errors.New("prune: Used is required")
	}
	return nil
}

// Choice is what can go from one repository, in the order in which a registry
// lets it go: what refers to others before those.
type Choice struct {
	Repository string
	Delete     []Image
	Kept       int
	Size       int64 // of what goes; layers that others share are counted although they stay
}

// Children returns what an index names.
type Children func(ctx context.Context, repository string, i Image) ([]digest.Digest, error)

// Choose looks at the images of one repository.
func Choose(ctx context.Context, repository string, images []Image, rule Rule, children Children, now time.Time) (Choice, error) {
	c := &chooser{rule: rule, repository: repository, now: now, images: map[digest.Digest]Image{}, below: map[digest.Digest][]digest.Digest{}, stays: map[digest.Digest]bool{}}
	for _, i := range images {
		c.images[i.Digest] = i
		if !i.Index {
			continue
		}
		// Also of those that go: what they name goes with them, and not before.
		below, err := children(ctx, repository, i)
		if err != nil {
			return Choice{}, fmt.Errorf("what %s@%s consists of: %w", repository, i.Digest, err)
		}
		c.below[i.Digest] = below
	}
	c.keep()
	choice := Choice{Repository: repository}
	for _, i := range images {
		if c.stays[i.Digest] {
			choice.Kept++
			continue
		}
		choice.Delete = append(choice.Delete, i)
		choice.Size += i.Size
	}
	slices.SortFunc(choice.Delete, func(a, b Image) int {
		return cmp.Or(cmp.Compare(c.turn(a), c.turn(b)), cmp.Compare(a.Digest, b.Digest))
	})
	return choice, nil
}

type chooser struct {
	rule       Rule
	repository string
	now        time.Time
	images     map[digest.Digest]Image
	below      map[digest.Digest][]digest.Digest
	stays      map[digest.Digest]bool
}

// turn is when an image can go: referrers, indexes, what they name.
func (c *chooser) turn(i Image) int {
	switch {
	case i.Subject != "", signatureOf(i) != "":
		return 0
	case i.Index:
		return 1
	}
	return 2
}

func (c *chooser) keep() {
	named := map[digest.Digest]bool{}
	for _, below := range c.below {
		for _, d := range below {
			named[d] = true
		}
	}
	var tops []Image // that a person would call an image
	for _, i := range c.images {
		top := len(i.Tags) > 0 && signatureOf(i) == ""
		switch {
		case c.rule.Used(c.repository, i), c.rule.Locked[c.repository+"@"+i.Digest.String()]:
			c.stay(i.Digest)
		case !top && i.Subject == "" && !named[i.Digest] && signatureOf(i) == "" && c.now.Sub(i.Pushed) < c.rule.Young:
			c.stay(i.Digest)
		}
		if top {
			tops = append(tops, i)
		}
	}
	slices.SortFunc(tops, func(a, b Image) int { return cmp.Or(b.Pushed.Compare(a.Pushed), cmp.Compare(a.Digest, b.Digest)) })
	for _, i := range tops[:min(c.rule.Keep, len(tops))] {
		c.stay(i.Digest)
	}
	// A referrer stays with what it refers to, and may have referrers itself.
	for again := true; again; {
		again = false
		for _, i := range c.images {
			if subject := cmp.Or(i.Subject, signatureOf(i)); subject != "" && c.stays[subject] && !c.stays[i.Digest] {
				c.stay(i.Digest)
				again = true
			}
		}
	}
}

// stay keeps an image with all that it names.
func (c *chooser) stay(d digest.Digest) {
	if c.stays[d] {
		return
	}
	c.stays[d] = true
	for _, below := range c.below[d] {
		c.stay(below)
	}
}

// signatureOf is what an image signs whose only tag is of the kind
// sha256-….sig, as cosign 2 names them; else "".
func signatureOf(i Image) digest.Digest {
	if len(i.Tags) != 1 {
		return ""
	}
	hex, ok := strings.CutPrefix(i.Tags[0], "sha256-")
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
