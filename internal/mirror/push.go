// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// minMountRefusals is how many mounts the target has to refuse, without accepting
// one, until no more are tried.
const minMountRefusals = 3

// mount mounts a blob of one repository of the target into another. If the target
// refuses, the task uploads the blob. fromRun says that the blob is there because
// this run has written a manifest with it; only then a refusal means that the target
// does not mount blobs.
func (r *run) mount(ctx context.Context, b *blob, repository, from string, fromRun bool) error {
	if !r.mountEnabled.Load() {
		return errUseFallback
	}
	// An error is a refusal as well: the upload meets it again, or succeeds.
	if mounted, _ := r.m.Target.Mount(ctx, repository, from, b.desc); mounted {
		r.mountHits.Add(1)
		r.progress.Mounted.Add(b.desc.Size)
		r.progress.Done.Add(b.desc.Size)
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if fromRun && r.mountRefusals.Add(1) >= minMountRefusals && r.mountHits.Load() == 0 && r.mountEnabled.CompareAndSwap(true, false) {
		r.schedule.useFallbacks(r.mountTasks)
	}
	return errUseFallback
}

// pushManifest writes a manifest under each of its tags, or without a tag.
func (r *run) pushManifest(ctx context.Context, at blobLocation, n *node) error {
	tags := r.tags[at]
	if len(tags) == 0 {
		tags = []string{""}
	}
	for _, tag := range tags {
		if err := r.pushTag(ctx, at.repository, n, tag); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) pushTag(ctx context.Context, repository string, n *node, tag string) error {
	for attempt := 1; ; attempt++ {
		err := r.m.Target.PutManifest(ctx, repository, n.desc, n.raw, tag)
		if errors.Is(err, registry.ErrImmutable) {
			// ECR also refuses a push that would not change an immutable tag.
			if d, resolveErr := r.m.Target.Resolve(ctx, repository, tag); resolveErr == nil && d.Digest == n.desc.Digest {
				return nil
			}
		}
		if err == nil || attempt >= maxAttempts || !registry.Retryable(err) {
			return err
		}
		if registry.Sleep(ctx, registry.Backoff(attempt)) != nil {
			return err
		}
		// Registries that are eventually consistent know all content after two
		// retries. What is still unknown then was lost.
		if attempt == 3 && errors.Is(err, registry.ErrIncomplete) {
			if err := r.restoreContent(ctx, repository, n); err != nil {
				return err
			}
		}
	}
}

// restoreContent writes what a manifest names and the target has lost.
func (r *run) restoreContent(ctx context.Context, repository string, n *node) error {
	for _, c := range n.children {
		if err := r.m.Target.PutManifest(ctx, repository, c.desc, c.raw, ""); err != nil {
			return err
		}
	}
	for _, d := range n.blobs {
		exists, err := r.m.Target.HasBlob(ctx, repository, d)
		if err != nil {
			return err
		}
		if exists {
			continue
		}
		u := &upload{repository: repository, progress: &Progress{}} // it was counted before
		r.transfer(ctx, r.plan.blobs[d.Digest], []*upload{u})
		if u.err != nil {
			return u.err
		}
	}
	return nil
}
