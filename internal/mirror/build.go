// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// run is the state of one run.
type run struct {
	m        *Mirror
	plan     *Plan
	progress *Progress
	schedule *schedule

	blobTasks     map[blobLocation]*task // for blobs that a repository needs
	manifestTasks map[blobLocation]*task
	tags          map[blobLocation][]string // of manifests
	present       map[blobLocation]bool     // manifests that need not be written
	batches       map[digest.Digest]*batch  // uploads of a blob
	lastTasks     map[*Item]*task           // the last one of each image

	mountTasks               []*task
	mountEnabled             atomic.Bool // until the target turns out not to mount
	mountHits, mountRefusals atomic.Int64
}

// blobLocation is a blob or a manifest in a repository of the target.
type blobLocation struct {
	repository string
	digest     digest.Digest
}

// rank is how urgent a task is. Tasks on which others depend come first.
type rank int

const (
	rankBlob     rank = iota
	rankSource        // the blob of a mount source
	rankMount         // costs one request
	rankManifest      // all that the manifest needs is present
)

// newRun makes the tasks of a plan.
func newRun(m *Mirror, p *Plan, progress *Progress) *run {
	r := &run{m: m, plan: p, progress: progress, schedule: newSchedule(),
		blobTasks: map[blobLocation]*task{}, manifestTasks: map[blobLocation]*task{}, tags: map[blobLocation][]string{}, present: map[blobLocation]bool{},
		batches: map[digest.Digest]*batch{}, lastTasks: map[*Item]*task{}}
	for _, i := range p.toCopy {
		r.collectTags(i)
		for d := range i.present {
			r.present[blobLocation{i.target().Repository, d}] = true
		}
	}
	if p.sharesBlobs {
		r.mountEnabled.Store(true)
		r.addMountsOfPresentBlobs()
		for _, s := range chooseMountSources(p) {
			r.addMountSource(s)
		}
	}
	for _, i := range p.toCopy {
		r.addImage(i)
	}
	return r
}

// collectTags collects the tags of each manifest, because one task writes them all.
func (r *run) collectTags(i *Item) {
	target := i.target()
	tag := target.Tag
	if tag == "" && target.Digest == "" {
		tag = target.Identifier()
	}
	if i.State != StateIncomplete {
		r.addTag(blobLocation{target.Repository, i.desc.Digest}, tag)
	}
	for _, ref := range i.referrers {
		if !ref.isDone {
			r.addTag(blobLocation{target.Repository, ref.desc.Digest}, ref.tag)
		}
	}
}

func (r *run) addTag(at blobLocation, tag string) {
	if tag != "" && !slices.Contains(r.tags[at], tag) {
		r.tags[at] = append(r.tags[at], tag)
	}
}

// mountSource is a manifest that is pushed early, so that other repositories can
// mount blobs of it: ECR mounts only blobs that belong to an image.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
type mountSource struct {
	repository string
	node       *node
	blobs      []*blob // that others mount from it
}

// chooseMountSources returns mount sources such that each blob that several
// repositories need belongs to exactly one. They are chosen one by one: the next is
// the manifest that saves others the most bytes for each byte of its own upload. A
// mount source may itself mount from those before it and never from later ones, so
// their tasks cannot wait for each other in a circle.
func chooseMountSources(p *Plan) []mountSource {
	var chosen []mountSource
	covered := map[digest.Digest]bool{}
	for {
		best, ok := bestMountSource(p, covered)
		if !ok {
			return chosen
		}
		chosen = append(chosen, best)
		for _, b := range best.blobs {
			covered[b.desc.Digest] = true
		}
	}
}

// bestMountSource returns the best mount source for blobs that are not covered by
// another; false if there are no such blobs.
func bestMountSource(p *Plan, covered map[digest.Digest]bool) (best mountSource, ok bool) {
	var bestRatio float64
	for _, i := range p.toCopy {
		repository := i.target().Repository
		i.walkNeeded(func(n *node) {
			s := mountSource{repository: repository, node: n}
			var saved, cost int64
			for _, d := range n.blobs {
				b := p.blobs[d.Digest]
				if !b.neededBy[repository] || b.presentIn != "" {
					continue
				}
				cost += d.Size
				if len(b.neededBy) > 1 && !covered[d.Digest] {
					s.blobs = append(s.blobs, b)
					saved += int64(len(b.neededBy)-1) * d.Size
				}
			}
			if ratio := float64(saved) / float64(cost+1); len(s.blobs) > 0 && (!ok || ratio > bestRatio) {
				best, bestRatio, ok = s, ratio, true
			}
		})
	}
	return best, ok
}

// addMountsOfPresentBlobs adds the tasks that mount blobs that the target has.
func (r *run) addMountsOfPresentBlobs() {
	for _, d := range slices.Sorted(maps.Keys(r.plan.blobs)) {
		if b := r.plan.blobs[d]; b.presentIn != "" {
			r.addMounts(b, b.presentIn, nil)
		}
	}
}

// addMountSource adds the tasks that write a mount source, and those that mount
// its blobs into other repositories.
func (r *run) addMountSource(s mountSource) {
	for _, d := range s.node.blobs {
		if b := r.plan.blobs[d.Digest]; b.neededBy[s.repository] {
			r.addUpload(b, s.repository, rankSource)
		}
	}
	manifest := r.addManifest(s.repository, s.node)
	for _, b := range s.blobs {
		r.addMounts(b, s.repository, manifest)
	}
}

// addMounts adds a task for each repository that needs a blob and has no task for
// it: to mount the blob from another repository, or to upload it where that fails.
// The tasks start after the manifest that has the blob is written, if it is not
// nil.
func (r *run) addMounts(b *blob, from string, manifest *task) {
	for _, repository := range slices.Sorted(maps.Keys(b.neededBy)) {
		at := blobLocation{repository, b.desc.Digest}
		if _, ok := r.blobTasks[at]; ok {
			continue
		}
		t := &task{repository: repository, size: b.desc.Size, fallback: &work{batch: r.uploadBatch(b), rank: rankBlob}}
		t.work = work{rank: rankMount, run: func(ctx context.Context) error {
			return r.mount(ctx, b, repository, from, manifest != nil && manifest.err == nil)
		}}
		if manifest == nil {
			r.schedule.add(t, nil)
		} else {
			r.schedule.add(t, nil, manifest)
		}
		r.blobTasks[at] = t
		r.mountTasks = append(r.mountTasks, t)
	}
}

// addUpload adds the task that uploads a blob, unless the repository has a task for
// it.
func (r *run) addUpload(b *blob, repository string, rank rank) *task {
	at := blobLocation{repository, b.desc.Digest}
	t, ok := r.blobTasks[at]
	if !ok {
		t = r.schedule.add(&task{repository: repository, size: b.desc.Size, work: work{batch: r.uploadBatch(b), rank: rank}}, nil)
		r.blobTasks[at] = t
	}
	return t
}

// uploadBatch returns the batch of a blob, which reads it once and writes it to
// several repositories.
func (r *run) uploadBatch(b *blob) *batch {
	u, ok := r.batches[b.desc.Digest]
	if !ok {
		u = &batch{limit: 8, run: func(ctx context.Context, tasks []*task) []error { return r.uploadBlob(ctx, b, tasks) }}
		r.batches[b.desc.Digest] = u
	}
	return u
}

// addManifest adds the task that writes a manifest, and the tasks for all that it
// names, unless they exist. It returns nil if the target has the manifest and all below
// it.
func (r *run) addManifest(repository string, n *node) *task {
	at := blobLocation{repository, n.desc.Digest}
	if t, ok := r.manifestTasks[at]; ok {
		return t
	}
	var needs []*task
	for _, c := range n.children {
		if t := r.addManifest(repository, c); t != nil {
			needs = append(needs, t)
		}
	}
	for _, d := range n.blobs {
		if b := r.plan.blobs[d.Digest]; b != nil && b.neededBy[repository] {
			needs = append(needs, r.addUpload(b, repository, rankBlob))
		}
	}
	write := func(ctx context.Context) error { return r.pushManifest(ctx, at, n) }
	if r.present[at] && len(r.tags[at]) == 0 {
		if len(needs) == 0 {
			r.manifestTasks[at] = nil
			return nil
		}
		write = func(context.Context) error { return nil }
	}
	t := &task{repository: repository, work: work{rank: rankManifest, run: write}}
	r.manifestTasks[at] = r.schedule.add(t, needs)
	return t
}

// addImage adds the tasks of an image: its manifests, its referrers, and at last the
// check of its tag.
func (r *run) addImage(i *Item) {
	repository := i.target().Repository
	var needs, after []*task
	if t := r.addManifest(repository, i.root); t != nil {
		needs = append(needs, t)
	}
	for _, ref := range i.referrers {
		if ref.isDone {
			continue
		}
		manifest := r.addManifest(repository, ref.node)
		switch {
		case manifest == nil:
		case r.m.StrictReferrers:
			needs = append(needs, manifest)
		default:
			after = append(after, r.addReferrerWarning(i, ref, manifest))
		}
	}
	r.lastTasks[i] = r.schedule.add(&task{work: work{rank: rankManifest, run: func(ctx context.Context) error { return r.verifyTarget(ctx, i) }}}, needs, after...)
}

// addReferrerWarning adds a task that reports a referrer that was not written.
func (r *run) addReferrerWarning(i *Item, ref *referrer, manifest *task) *task {
	warn := func(context.Context) error {
		if manifest.err != nil {
			ref.isSkipped = true
			r.m.emit(Event{Kind: EventWarning, Source: i.Source, Target: i.Target, Digest: ref.desc.Digest.String(),
				Message: "a signature or attestation was not copied, try again with --update: " + manifest.err.Error()})
		}
		return nil
	}
	return r.schedule.add(&task{work: work{rank: rankManifest, run: warn}}, nil, manifest)
}
