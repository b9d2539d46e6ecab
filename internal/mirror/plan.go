// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// State is the state of an image in the target.
type State string

// The states that Plan finds. Run replaces those of what it copies by StateCopied or
// StateFailed.
const (
	StatePresent    State = "present"    // the target has it, with all that belongs to it
	StateIncomplete State = "incomplete" // the target has it, without Item.Lacks
	StateMissing    State = "missing"    // the target has nothing under the name
	StateDiffers    State = "differs"    // the target has another image under the name
	StateFailed     State = "failed"     // see Item.Err
	StateCopied     State = "copied"
)

// Item is one image of a plan.
type Item struct {
	Job
	State State
	Err   error
	// Found is the digest of the image under the target's name, if it differs.
	Found digest.Digest
	// Lacks are the manifests and referrers that the target does not have, if the image is
	// incomplete.
	Lacks []digest.Digest
	// Uncompared is set if the image is present, and it is not known whether it is that of
	// the source.
	Uncompared bool

	desc         ocispec.Descriptor // of the image as the target is to have it
	sourceDigest digest.Digest
	root         *node // nil if the source was not read
	referrers    []*referrer
	present      map[digest.Digest]bool // manifests that the target has; nil if it was not asked
}

func (i *Item) source() rewrite.Reference { return rewrite.SplitReference(i.Source) }

func (i *Item) target() rewrite.Reference { return rewrite.SplitReference(i.Target) }

// Digest returns the digest that the image has in the target; empty while it is not
// known.
func (i *Item) Digest() digest.Digest { return i.desc.Digest }

// walk calls f for every manifest of the image and of its referrers, once for each.
func (i *Item) walk(f func(*node)) {
	seen := map[digest.Digest]bool{}
	i.root.walkNew(seen, f)
	for _, r := range i.referrers {
		if !r.isDone {
			r.walkNew(seen, f)
		}
	}
}

// walkNeeded is walk for the manifests that the target does not have.
func (i *Item) walkNeeded(f func(*node)) {
	i.walk(func(n *node) {
		if !i.present[n.desc.Digest] {
			f(n)
		}
	})
}

// Plan is what a run has to do.
type Plan struct {
	Items []*Item
	// Create lists the repositories that have to be created.
	Create []string
	// Manifests is the number of manifests to be written, each by one PutImage.
	Manifests int
	// Upload, Mount and Read are the bytes to be uploaded, to be mounted from other
	// repositories of the target, and to be read from the source.
	Upload, Mount, Read int64

	toCopy      []*Item
	sharesBlobs bool // the target mounts blobs of other repositories
	blobs       map[digest.Digest]*blob
}

// blob is one blob, and the repositories of the target that need it.
type blob struct {
	desc      ocispec.Descriptor
	source    string // a repository that has it
	neededBy  map[string]bool
	presentIn string // a repository of the target that has it, or ""
}

// Count returns the number of images in a state.
func (p *Plan) Count(s State) (count int) {
	for _, i := range p.Items {
		if i.State == s {
			count++
		}
	}
	return count
}

// fail records that the image is not copied.
func (i *Item) fail(err error) { i.State, i.Err = StateFailed, err }

// dropFailed removes failed images from those to be copied.
func (p *Plan) dropFailed() {
	p.toCopy = slices.DeleteFunc(p.toCopy, func(i *Item) bool { return i.State == StateFailed })
}

// Plan compares source and target and decides what to copy. A failure is recorded in
// the items of the images that it concerns; an error means that the context ended.
func (m *Mirror) Plan(ctx context.Context, jobs []Job) (*Plan, error) {
	p := &Plan{blobs: map[digest.Digest]*blob{}, sharesBlobs: true}
	for _, j := range jobs {
		p.Items = append(p.Items, &Item{Job: j})
	}
	if err := m.compareAll(ctx, p.Items); err != nil {
		return nil, err
	}
	failConflicts(p.Items)
	for _, i := range p.Items {
		if m.needsCopy(i) {
			p.toCopy = append(p.toCopy, i)
		}
	}
	if !m.CompareOnly {
		if err := m.inspectTarget(ctx, p); err != nil {
			return nil, err
		}
		p.sum()
	}
	for _, i := range p.Items {
		m.emitPlanned(i)
	}
	return p, nil
}

// compareAll sets the state of all items.
func (m *Mirror) compareAll(ctx context.Context, items []*Item) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(m.parallel())
	progress := m.planning()
	progress.Images.Store(int64(len(items)))
	for _, i := range items {
		all.Go(func() error {
			if err := m.compare(ctx, i); err != nil {
				i.fail(err)
			}
			progress.ImagesDone.Add(1)
			return context.Cause(ctx)
		})
	}
	return all.Wait()
}

// compare sets the state of an item, and reads from the source what a copy needs.
func (m *Mirror) compare(ctx context.Context, i *Item) error {
	if i.Refused != nil {
		return i.Refused
	}
	if m.WithoutSource && i.Locked == nil {
		return m.lookUp(ctx, i)
	}
	found, err := m.resolveBoth(ctx, i)
	if err != nil {
		return err
	}
	switch found.desc.Digest {
	case i.desc.Digest:
		i.State = StatePresent
		if err := m.checkPresent(ctx, i, found); err != nil {
			return err
		}
	case "":
		i.State = StateMissing
	default:
		i.State, i.Found = StateDiffers, found.desc.Digest
	}
	if m.CompareOnly || !m.needsCopy(i) {
		return nil
	}
	if err := m.readImage(ctx, i); err != nil {
		return err
	}
	return m.compareTags(ctx, i)
}

// lookUp sets the state of an item without its source, which may be out of reach.
func (m *Mirror) lookUp(ctx context.Context, i *Item) error {
	found, err := m.findTarget(ctx, i)
	pinned := digest.Digest(i.source().Digest)
	switch {
	case err != nil:
		return err
	case found.desc.Digest == "":
		i.State = StateMissing
		return nil
	case pinned != "" && pinned != found.desc.Digest && len(m.Platforms) == 0:
		i.State, i.Found, i.desc.Digest = StateDiffers, found.desc.Digest, pinned
		return nil
	}
	i.State, i.desc, i.Uncompared = StatePresent, found.desc, pinned == ""
	return m.checkPresent(ctx, i, found)
}

// resolveBoth resolves the image at the source, and in the target.
func (m *Mirror) resolveBoth(ctx context.Context, i *Item) (found content, err error) {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return m.resolveSource(ctx, i) })
	both.Go(func() (err error) {
		found, err = m.findTarget(ctx, i)
		return err
	})
	return found, both.Wait()
}

func (m *Mirror) needsCopy(i *Item) bool {
	return i.State == StateMissing || i.State == StateIncomplete || i.State == StateDiffers && m.Overwrite
}

// failConflicts fails different images that have the same target.
func failConflicts(items []*Item) {
	byTarget := map[string][]*Item{}
	for _, i := range items {
		if i.State != StateFailed {
			byTarget[i.Target] = append(byTarget[i.Target], i)
		}
	}
	for _, same := range byTarget {
		n := slices.IndexFunc(same, func(i *Item) bool { return i.desc.Digest != same[0].desc.Digest })
		if n < 0 {
			continue
		}
		err := conflictError(same[0], same[n])
		for _, i := range same {
			i.fail(err)
		}
	}
}

func conflictError(a, b *Item) error {
	if a.Chart != nil || b.Chart != nil {
		return fmt.Errorf("%s (%s) and %s (%s) both belong at %s, and one of them is a Helm chart: give the image another place with a rule of the configuration, or leave the charts out",
			a.Source, a.desc.Digest, b.Source, b.desc.Digest, a.Target)
	}
	return fmt.Errorf("%s (%s) and %s (%s) both belong at %s: they are published under one tag and differ: leave one out, or pin it by digest",
		a.Source, a.desc.Digest, b.Source, b.desc.Digest, a.Target)
}

// sum computes the totals of a plan.
func (p *Plan) sum() {
	for _, b := range p.blobs {
		n := int64(len(b.neededBy))
		switch {
		case n == 0:
		case p.sharesBlobs && b.presentIn != "":
			p.Mount += n * b.desc.Size
		case p.sharesBlobs:
			p.Upload += b.desc.Size
			p.Mount += (n - 1) * b.desc.Size
			p.Read += b.desc.Size
		default:
			p.Upload += n * b.desc.Size
			p.Read += b.desc.Size
		}
	}
	manifests := map[blobLocation]bool{}
	for _, i := range p.toCopy {
		repository := i.target().Repository
		i.walkNeeded(func(n *node) { manifests[blobLocation{repository, n.desc.Digest}] = true })
	}
	p.Manifests = len(manifests)
}

func (m *Mirror) emitPlanned(i *Item) {
	e := Event{Kind: EventPlanned, Source: i.Source, Target: i.Target, Digest: i.desc.Digest.String()}
	switch {
	case i.State == StatePresent:
		e.Kind = EventUnchanged
	case i.State == StateIncomplete:
		e.Message = i.DescribeLacks()
	case i.State == StateDiffers && !m.Overwrite:
		e.Kind = EventFailed
		e.Message = fmt.Sprintf("%s is %s, and the source is %s: use --overwrite to move the tag", i.Target, i.Found, i.desc.Digest)
	case i.State == StateFailed:
		e.Kind, e.Message = EventFailed, i.Err.Error()
	}
	m.emit(e)
}

// DescribeLacks says which manifests an incomplete image lacks, such as a platform or a
// signature.
func (i *Item) DescribeLacks() string {
	if more := len(i.Lacks) - 1; more > 0 {
		return fmt.Sprintf("lacks the manifest %s and %d more", i.Lacks[0], more)
	}
	return fmt.Sprintf("lacks the manifest %s", i.Lacks[0])
}
