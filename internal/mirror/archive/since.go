// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// findAssumed returns the blobs of a content that belong to images of an older lock.
// A lock has only the digests of images, so their manifests are read from the source.
// Images that cannot be read are listed in unread, and their blobs are not assumed.
// Nor are blobs of referrers, which the target may have refused.
func findAssumed(ctx context.Context, from mirror.Source, c *mirror.Content, since *lock.Lock, parallel int) (a *assumption, unread []string, err error) {
	if since == nil {
		return nil, nil, nil
	}
	if since.Registry != c.Lock.Registry {
		return nil, nil, fmt.Errorf("the older lock file is for the registry %s, not for %s, which may have other blobs: use the lock file of the last archive for %s, or export a full archive",
			since.Registry, c.Lock.Registry, c.Lock.Registry)
	}
	text, err := since.Marshal()
	if err != nil {
		return nil, nil, err
	}
	found, errs := make([]*mirror.Content, len(since.Images)), make([]error, len(since.Images))
	m := &mirror.Mirror{Source: from, Platforms: since.Platforms, Parallel: parallel}
	var all errgroup.Group
	all.SetLimit(parallel)
	for n, i := range since.Images {
		all.Go(func() error {
			job := mirror.Job{Source: i.Source, Target: i.Target, Locked: &mirror.Locked{Digest: i.Digest, SourceDigest: i.SourceDigest}}
			found[n], errs[n] = m.ReadContent(ctx, []mirror.Job{job}, since.Registry, nil)
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	a = &assumption{Lock: digest.FromBytes(text), Images: []assumedImage{}, Blobs: []assumedBlob{}}
	holders := map[digest.Digest][]int{}
	for n, i := range since.Images {
		if errs[n] != nil {
			unread = append(unread, errs[n].Error())
			continue
		}
		for _, b := range found[n].Blobs {
			holders[b.Descriptor.Digest] = append(holders[b.Descriptor.Digest], len(a.Images))
		}
		a.Images = append(a.Images, assumedImage{i.Source, i.Target})
	}
	for _, b := range c.Blobs {
		if d := b.Descriptor; len(holders[d.Digest]) > 0 {
			a.Blobs = append(a.Blobs, assumedBlob{contentInfo{d.Digest, d.Size}, holders[d.Digest]})
		}
	}
	slices.Sort(unread)
	return a, unread, nil
}
