// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// State is what became of an image, or is to become of it.
type State string

// The states of a plan, and, below, those of a run.
const (
	StatePresent State = "present" // the target has it
	StateMissing State = "missing" // the target has nothing under the name
	StateDiffers State = "differs" // the target has something else under the name
	StateFailed  State = "failed"  // Err says why
	StateCopied  State = "copied"
)

// Item is one image of a plan.
type Item struct {
	Job
	State State
	Err   error
	// Found is what the target has under the name where that differs.
	Found digest.Digest

	desc      ocispec.Descriptor // as it is to be at the target
	source    digest.Digest      // as it is at the source
	root      *node              // nil where nobody asked the source
	referrers []referrer
}

// Digest is that of the image at the target; empty while it is not known.
func (i *Item) Digest() digest.Digest { return i.desc.Digest }

// copies tells whether the run has to do anything for it.
func (i *Item) copies(overwrite bool) bool {
	return i.State == StateMissing || i.State == StateDiffers && overwrite
}

// Plan is what a run does.
type Plan struct {
	Items []*Item
	// Create are the repositories that have to be made first.
	Create []string
	// Manifests counts the manifests to be written, each costing one PutImage.
	Manifests int
	// Upload is what has to be written, Mount what the target can share instead,
	// Read what is read from the source, all in bytes.
	Upload, Mount, Read int64

	shares bool // the target shares blobs between repositories
	blobs  map[digest.Digest]*blob
}

// blob is one blob, and the repositories of the target that need it.
type blob struct {
	desc   ocispec.Descriptor
	source string // a repository that has it
	needed map[string]bool
	held   string // a repository of the target that has it already
}

// Count returns how many images have a state.
func (p *Plan) Count(s State) (count int) {
	for _, i := range p.Items {
		if i.State == s {
			count++
		}
	}
	return count
}

// Plan finds out what has to be done. What is wrong with one image is in its
// item; an error means that there is no plan at all.
func (m *Mirror) Plan(ctx context.Context, images []Job) (*Plan, error) {
	p := &Plan{blobs: map[digest.Digest]*blob{}, shares: true}
	all, group := errgroup.WithContext(ctx)
	all.SetLimit(m.parallel())
	for _, image := range images {
		i := &Item{Job: image}
		p.Items = append(p.Items, i)
		all.Go(func() error {
			m.examine(group, i)
			return context.Cause(group)
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	if err := m.unambiguous(p); err != nil {
		return nil, err
	}
	if !m.CompareOnly {
		if err := m.work(ctx, p); err != nil {
			return nil, err
		}
	}
	for _, i := range p.Items {
		e := Event{Kind: EventPlanned, Source: i.Source, Target: i.Target, Digest: i.desc.Digest.String()}
		switch {
		case i.State == StatePresent:
			e.Kind = EventUnchanged
		case !i.copies(m.Overwrite):
			e.Kind, e.Message = EventFailed, i.problem().Error()
		}
		m.emit(e)
	}
	return p, nil
}

// work finds out what a run has to do.
func (m *Mirror) work(ctx context.Context, p *Plan) error {
	if err := m.repositories(ctx, p); err != nil {
		return err
	}
	if err := m.missingBlobs(ctx, p); err != nil {
		return err
	}
	p.total(m.Overwrite)
	return nil
}

// problem says why an image is not copied.
func (i *Item) problem() error {
	if i.State == StateDiffers {
		return fmt.Errorf("%s stands for %s, and the source for %s; --overwrite moves the tag", i.Target, i.Found, i.desc.Digest)
	}
	return i.Err
}

// examine asks both sides about one image. With a lock the source is only asked
// for what the target has not.
func (m *Mirror) examine(ctx context.Context, i *Item) {
	if err := m.compare(ctx, i); err != nil {
		i.State, i.Err = StateFailed, err
	}
}

func (m *Mirror) compare(ctx context.Context, i *Item) error {
	both, group := errgroup.WithContext(ctx)
	both.Go(func() error { return m.resolve(group, i) })
	var found ocispec.Descriptor
	both.Go(func() (err error) {
		target := rewrite.SplitReference(i.Target)
		found, err = m.Target.Resolve(group, target.Repository, target.Identifier())
		if errors.Is(err, registry.ErrNotFound) {
			return nil
		}
		return err
	})
	if err := both.Wait(); err != nil {
		return err
	}
	switch found.Digest {
	case i.desc.Digest:
		i.State = StatePresent
		return nil
	case "":
		i.State = StateMissing
	default:
		i.State, i.Found = StateDiffers, found.Digest
	}
	if m.CompareOnly || !i.copies(m.Overwrite) {
		return nil
	}
	return m.read(ctx, i)
}

// resolve finds out which digest the target is to have.
func (m *Mirror) resolve(ctx context.Context, i *Item) error {
	if i.Locked != nil {
		i.desc.Digest, i.source = i.Locked.Digest, i.Locked.SourceDigest
		if i.source == "" {
			i.source = i.Locked.Digest
		}
		return nil
	}
	source := rewrite.SplitReference(i.Source)
	repository := source.Repository
	d, err := m.Source.Resolve(ctx, repository, source.Identifier())
	if err != nil {
		return err
	}
	i.source = d.Digest
	if m.CompareOnly && len(m.Platforms) == 0 {
		i.desc = d
		return nil
	}
	// Size and platforms belong into the lock; so all is read, even where the target
	// turns out to have it.
	if i.root, err = m.tree(ctx, repository, d, 0); err != nil {
		return err
	}
	i.desc = i.root.desc
	if pinned := rewrite.SplitReference(i.Source).Digest; pinned != "" && i.desc.Digest.String() != pinned {
		return fmt.Errorf("%s is pinned by its digest, and leaving platforms out changes that: copy it with all platforms", i.Source)
	}
	return nil
}

// read reads from the source what a copy needs beyond the digest.
func (m *Mirror) read(ctx context.Context, i *Item) error {
	repository := rewrite.SplitReference(i.Source).Repository
	if i.root == nil {
		d, err := m.Source.Resolve(ctx, repository, i.source.String())
		if err != nil {
			return fmt.Errorf("the locked digest of %s: %w", i.Source, err)
		}
		if i.root, err = m.tree(ctx, repository, d, 0); err != nil {
			return err
		}
		if i.root.desc.Digest != i.desc.Digest {
			return fmt.Errorf("%s: the lock has %s, and with the platforms asked for it is %s; make the lock anew", i.Source, i.desc.Digest, i.root.desc.Digest)
		}
		i.desc = i.root.desc
	}
	if err := acceptable(i); err != nil || !m.Referrers {
		return err
	}
	var err error
	i.referrers, err = m.referrers(ctx, repository, i.root)
	return err
}

// acceptable says what ECR will refuse, before anything is copied: it takes no
// blob without a byte.
func acceptable(i *Item) (err error) {
	if !rewrite.IsECRHost(rewrite.RegistryHost(i.Target)) {
		return nil
	}
	i.root.walk(func(n *node) {
		for _, d := range n.blobs {
			if d.Size == 0 {
				err = fmt.Errorf("%s has an empty layer (%s in %s), which ECR refuses; ask its publisher to build it anew", i.Source, d.Digest, n.desc.Digest)
			}
		}
	})
	return err
}

// unambiguous refuses two images for one name.
func (m *Mirror) unambiguous(p *Plan) error {
	first := map[string]*Item{}
	for _, i := range p.Items {
		if i.State == StateFailed {
			continue
		}
		other, twice := first[i.Target]
		if twice && other.desc.Digest != i.desc.Digest {
			return fmt.Errorf("%s (%s) and %s (%s) both belong at %s: they are published under one tag and differ; leave one out, or pin it by digest",
				other.Source, other.desc.Digest, i.Source, i.desc.Digest, i.Target)
		}
		first[i.Target] = i
	}
	return nil
}

// repositories finds those that do not exist yet.
func (m *Mirror) repositories(ctx context.Context, p *Plan) error {
	if m.Repositories == nil {
		return nil
	}
	var names []string
	for _, i := range p.Items {
		if i.copies(m.Overwrite) {
			name := rewrite.SplitReference(i.Target).Repository
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	var err error
	if p.Create, err = m.Repositories.Missing(ctx, slices.Compact(names)); err != nil {
		return err
	}
	p.shares, err = m.Repositories.SharesBlobs(ctx)
	return err
}

// missingBlobs makes the table of all blobs, and asks the target for each whether
// it is there. A repository that does not exist needs no question.
func (m *Mirror) missingBlobs(ctx context.Context, p *Plan) error {
	for _, i := range p.Items {
		if !i.copies(m.Overwrite) {
			continue
		}
		from := rewrite.SplitReference(i.Source).Repository
		to := rewrite.SplitReference(i.Target).Repository
		i.trees(func(n *node) {
			for _, d := range n.blobs {
				b, ok := p.blobs[d.Digest]
				if !ok {
					b = &blob{desc: d, source: from, needed: map[string]bool{}}
					p.blobs[d.Digest] = b
				}
				b.needed[to] = true
			}
		})
	}
	type answer struct {
		blob       *blob
		repository string
		has        bool
	}
	var answers []*answer
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(m.parallel())
	for _, b := range p.blobs {
		for repository := range b.needed {
			if slices.Contains(p.Create, repository) {
				continue
			}
			a := &answer{blob: b, repository: repository}
			answers = append(answers, a)
			all.Go(func() (err error) {
				a.has, err = m.Target.HasBlob(ctx, repository, b.desc)
				return err
			})
		}
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for _, a := range answers {
		if a.has {
			delete(a.blob.needed, a.repository)
			a.blob.held = a.repository
		}
	}
	return nil
}

// trees calls f for every manifest of an item.
func (i *Item) trees(f func(*node)) {
	i.root.walk(f)
	for _, r := range i.referrers {
		r.walk(f)
	}
}

// total sums up.
func (p *Plan) total(overwrite bool) {
	for _, b := range p.blobs {
		n := int64(len(b.needed))
		if n == 0 {
			continue
		}
		switch {
		case p.shares && b.held != "":
			p.Mount += n * b.desc.Size
		case p.shares:
			p.Upload += b.desc.Size
			p.Mount += (n - 1) * b.desc.Size
			p.Read += b.desc.Size
		default:
			p.Upload += n * b.desc.Size
			p.Read += b.desc.Size
		}
	}
	type at struct {
		repository string
		digest     digest.Digest
	}
	seen := map[at]bool{}
	for _, i := range p.Items {
		if !i.copies(overwrite) {
			continue
		}
		repository := rewrite.SplitReference(i.Target).Repository
		i.trees(func(n *node) { seen[at{repository, n.desc.Digest}] = true })
	}
	p.Manifests = len(seen)
}

// BuildLock returns what is known now, for the lock file. Images that failed are in it as
// they were in the old one, which may be nil. Of an image that is the same as
// there, what only its source could tell is kept.
func (m *Mirror) BuildLock(prefix string, p *Plan, old *lock.Lock) *lock.Lock {
	l := &lock.Lock{Registry: prefix, Platforms: m.Platforms}
	for _, i := range p.Items {
		known, ok := old.Lookup(i.Source, i.Target)
		if i.root != nil {
			now := m.locked(i)
			if ok && known.Digest == now.Digest && now.SourceDigest == "" {
				now.SourceDigest = known.SourceDigest
			}
			l.Images = append(l.Images, now)
		} else if ok {
			known.Source, known.Target, known.Why = i.Source, i.Target, i.Why
			l.Images = append(l.Images, known)
		}
	}
	if old != nil && len(l.Platforms) == 0 && slices.ContainsFunc(l.Images, func(i lock.Entry) bool { return i.SourceDigest != "" }) {
		l.Platforms = old.Platforms
	}
	return l
}

func (m *Mirror) locked(i *Item) lock.Entry {
	l := lock.Entry{Source: i.Source, Target: i.Target, Digest: i.desc.Digest, MediaType: i.desc.MediaType,
		Size: i.root.size(), Platforms: i.root.platforms(), Why: i.Why}
	if i.source != i.desc.Digest {
		l.SourceDigest = i.source
	}
	for _, r := range i.referrers {
		l.Referrers = append(l.Referrers, r.desc.Digest)
	}
	slices.Sort(l.Referrers)
	l.Referrers = slices.Compact(l.Referrers)
	return l
}
