// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// run is the state of one run.
type run struct {
	m        *Mirror
	plan     *Plan
	progress *Progress
	schedule *schedule

	puts      map[place]*task // of blobs that a repository lacks
	manifests map[place]*task // of manifests and indexes
	tags      map[place][]string
	uploads   map[digest.Digest]*batch
	last      map[*Item]*task // ends an image

	mounts       []*task
	shares       atomic.Bool // until the target shows that it does not
	hits, misses atomic.Int64
}

// place is a blob or a manifest in a repository of the target.
type place struct {
	repository string
	digest     digest.Digest
}

// Ranks: what others wait for goes first.
const (
	rankBlob  = iota
	rankOwner // a blob of a manifest that others wait for
	rankMount // costs no more than a question
	rankWrite // of a manifest: all that it needs is there
)

// owner is a manifest that is written early: when it is there, other
// repositories can share its blobs. ECR shares no blob that no manifest names.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
type owner struct {
	repository string
	node       *node
	owns       []*blob
}

// newRun makes all tasks of a plan.
func newRun(m *Mirror, p *Plan, progress *Progress) *run {
	r := &run{m: m, plan: p, progress: progress, schedule: newSchedule(),
		puts: map[place]*task{}, manifests: map[place]*task{}, tags: map[place][]string{},
		uploads: map[digest.Digest]*batch{}, last: map[*Item]*task{}}
	r.shares.Store(p.shares)
	var items []*Item
	for _, i := range p.Items {
		if i.copies(m.Overwrite) {
			items = append(items, i)
			r.name(i)
		}
	}
	if p.shares {
		for _, d := range slices.Sorted(maps.Keys(p.blobs)) {
			if b := p.blobs[d]; b.held != "" {
				r.mountAll(b, b.held)
			}
		}
		for _, o := range owners(p, items) {
			r.own(o)
		}
	}
	for _, i := range items {
		r.image(i)
	}
	return r
}

// name notes the tags that manifests are to get, so that each is written once.
func (r *run) name(i *Item) {
	target := rewrite.SplitReference(i.Target)
	repository := target.Repository
	if t := tag(target); t != "" {
		r.tagged(place{repository, i.desc.Digest}, t)
	}
	for _, ref := range i.referrers {
		if ref.tag != "" {
			r.tagged(place{repository, ref.desc.Digest}, ref.tag)
		}
	}
}

func (r *run) tagged(at place, tag string) {
	if !slices.Contains(r.tags[at], tag) {
		r.tags[at] = append(r.tags[at], tag)
	}
}

// tag is that of a reference, also where a digest follows; "" where there is a
// digest alone.
func tag(ref rewrite.Reference) string {
	if ref.Digest != "" {
		return ref.Tag
	}
	return ref.Identifier()
}

// owners chooses them: the manifests that have most of what is shared, and least
// besides, until all that is shared has one. An owner may share what earlier ones
// own, and never the other way round, so that no two wait for each other.
func owners(p *Plan, items []*Item) []owner {
	var candidates []owner
	for _, i := range items {
		repository := rewrite.SplitReference(i.Target).Repository
		i.trees(func(n *node) { candidates = append(candidates, owner{repository: repository, node: n}) })
	}
	owned := map[digest.Digest]bool{}
	shared := func(o owner) (blobs []*blob, worth, cost int64) {
		for _, d := range o.node.blobs {
			b := p.blobs[d.Digest]
			if !b.needed[o.repository] || b.held != "" {
				continue
			}
			if cost += d.Size; len(b.needed) > 1 && !owned[d.Digest] && !slices.Contains(blobs, b) {
				blobs, worth = append(blobs, b), worth+int64(len(b.needed)-1)*d.Size
			}
		}
		return blobs, worth, cost
	}
	var chosen []owner
	for {
		var best owner
		var most float64
		for _, c := range candidates {
			blobs, worth, cost := shared(c)
			if value := float64(worth) / float64(cost+1); len(blobs) > 0 && (best.node == nil || value > most) {
				most, best = value, owner{c.repository, c.node, blobs}
			}
		}
		if best.node == nil {
			return chosen
		}
		for _, b := range best.owns {
			owned[b.desc.Digest] = true
		}
		chosen = append(chosen, best)
	}
}

// own makes the tasks of an owner, and those of all who wait for it.
func (r *run) own(o owner) {
	for _, d := range o.node.blobs {
		if b := r.plan.blobs[d.Digest]; b.needed[o.repository] {
			r.put(b, o.repository, rankOwner)
		}
	}
	written := r.manifest(o.repository, o.node)
	for _, b := range o.owns {
		r.mountAll(b, o.repository, written)
	}
}

// put makes the task that writes a blob, unless there is one.
func (r *run) put(b *blob, repository string, rank int) *task {
	at := place{repository, b.desc.Digest}
	t, ok := r.puts[at]
	if !ok {
		t = r.schedule.add(&task{batch: r.upload(b), repository: repository, rank: rank, size: b.desc.Size}, nil)
		r.puts[at] = t
	}
	return t
}

// upload is the batch of a blob: read once, written to several repositories.
func (r *run) upload(b *blob) *batch {
	u, ok := r.uploads[b.desc.Digest]
	if !ok {
		u = &batch{most: 8, run: func(ctx context.Context, tasks []*task) []error { return r.write(ctx, b, tasks) }}
		r.uploads[b.desc.Digest] = u
	}
	return u
}

// mountAll makes the tasks that share a blob with all who lack it, after the
// manifest that has it was written, if it was to be.
func (r *run) mountAll(b *blob, from string, after ...*task) {
	for _, repository := range slices.Sorted(maps.Keys(b.needed)) {
		at := place{repository, b.desc.Digest}
		if _, ok := r.puts[at]; ok {
			continue
		}
		t := &task{repository: repository, rank: rankMount, size: b.desc.Size}
		t.instead = func() {
			t.batch, t.rank, t.run = r.upload(b), rankBlob, nil
			t.batch.tasks = append(t.batch.tasks, t)
		}
		t.run = func(ctx context.Context) error { return r.mount(ctx, b, t, from, len(after) > 0) }
		r.puts[at] = r.schedule.add(t, nil, after...)
		r.mounts = append(r.mounts, t)
	}
}

// manifest makes the task that writes a manifest, and those of all below it.
func (r *run) manifest(repository string, n *node) *task {
	at := place{repository, n.desc.Digest}
	if t, ok := r.manifests[at]; ok {
		return t
	}
	var needs []*task
	for _, c := range n.children {
		needs = append(needs, r.manifest(repository, c))
	}
	for _, d := range n.blobs {
		if b := r.plan.blobs[d.Digest]; b.needed[repository] {
			needs = append(needs, r.put(b, repository, rankBlob))
		}
	}
	t := &task{repository: repository, rank: rankWrite, run: func(ctx context.Context) error { return r.writeManifest(ctx, at, n) }}
	r.manifests[at] = r.schedule.add(t, needs)
	return t
}

// image makes the tasks of an image: its manifests, then what refers to them.
func (r *run) image(i *Item) {
	repository := rewrite.SplitReference(i.Target).Repository
	root := r.manifest(repository, i.root)
	needs, after := []*task{root}, []*task(nil)
	for _, ref := range i.referrers {
		written := r.manifest(repository, ref.node)
		if r.m.StrictReferrers {
			needs = append(needs, written)
			continue
		}
		told := &task{rank: rankWrite}
		told.run = func(context.Context) error {
			if written.err != nil {
				r.m.emit(Event{Kind: EventWarning, Source: i.Source, Target: i.Target, Digest: ref.desc.Digest.String(),
					Message: "a signature or attestation was not copied: " + written.err.Error()})
			}
			return nil
		}
		after = append(after, r.schedule.add(told, nil, written))
	}
	r.last[i] = r.schedule.add(&task{rank: rankWrite, run: func(ctx context.Context) error { return r.finish(ctx, i) }}, needs, after...)
}
