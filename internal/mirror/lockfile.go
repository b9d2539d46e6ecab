// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"maps"
	"slices"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// BuildLock returns the lock of a plan's images, for the registry with the given
// prefix. It has the digests of images that are in the target. An image that was not
// copied keeps its entry of the old lock, which may be nil; without one it is listed as
// not copied. An image that has not changed keeps the source digest of its old entry.
func (m *Mirror) BuildLock(prefix string, p *Plan, old *lock.Lock) *lock.Lock {
	l := &lock.Lock{Registry: prefix, Platforms: m.Platforms}
	for _, i := range p.Items {
		known, ok := old.Lookup(i.Source, i.Target)
		switch {
		case i.succeeded() && i.root != nil:
			e := lockEntry(i)
			if ok && known.Digest == e.Digest && e.SourceDigest == "" {
				e.SourceDigest = known.SourceDigest
			}
			l.Images = append(l.Images, e)
		case ok && (i.succeeded() || known.Target == i.Target):
			known.Target, known.Why = i.Target, i.Why
			if i.succeeded() || i.Locked != nil && i.Locked.Digest == known.Digest {
				known.Source = i.Source // a name of the same image
			}
			if i.succeeded() {
				known.Chart = i.Chart
			}
			l.Images = append(l.Images, known)
		default:
			l.NotCopied = append(l.NotCopied, lock.NotCopied{Source: i.Source, Target: i.Target, Chart: i.Chart, Why: i.Why})
		}
	}
	if old != nil && len(l.Platforms) == 0 && slices.ContainsFunc(l.Images, func(e lock.Entry) bool { return e.SourceDigest != "" }) {
		l.Platforms = old.Platforms
	}
	if old != nil {
		l.Tracked = maps.Clone(old.Tracked)
	}
	return l
}

// IsDone reports whether all images are in the target, but for those that were refused.
func (p *Plan) IsDone() bool {
	return !slices.ContainsFunc(p.Items, func(i *Item) bool { return !i.succeeded() && i.Refused == nil })
}

// succeeded reports whether the image was copied, was present, or was read for an
// archive, which has no state.
func (i *Item) succeeded() bool {
	return i.State == StateCopied || i.State == StatePresent || i.State == "" && i.Err == nil
}

// lockEntry returns the entry of an image whose tree was read.
func lockEntry(i *Item) lock.Entry {
	e := lock.Entry{Source: i.Source, Target: i.Target, Digest: i.desc.Digest, MediaType: i.desc.MediaType,
		Size: i.root.totalSize(), Platforms: i.root.listPlatforms(), Chart: i.Chart, Why: i.Why}
	if i.sourceDigest != i.desc.Digest {
		e.SourceDigest = i.sourceDigest
	}
	for _, r := range i.referrers {
		if !r.isSkipped {
			e.Referrers = append(e.Referrers, r.desc.Digest)
		}
	}
	slices.Sort(e.Referrers)
	e.Referrers = slices.Compact(e.Referrers)
	return e
}
