// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"context"
	"fmt"
	"slices"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/webhookimage"
)

// webhook returns the source of the webhook's image, "" if it is left out, and its
// target: the image that the install bundle of this version names.
func (s Sources) webhook(rules *rewrite.Rules) (source, target string, err error) {
	switch {
	case s.WithoutWebhook && s.Webhook != "" && !webhookimage.IsCarried(s.Webhook):
		return "", "", exitcode.Usagef("--webhook-image %s and --no-webhook-image exclude each other: give one of them", s.Webhook)
	case s.WithoutWebhook || s.Webhook == "":
		return "", "", nil
	}
	if target, err = deploy.WebhookImage(rules); err != nil {
		return "", "", err
	}
	ref, err := rewrite.ParseReference(s.Webhook)
	switch {
	case err != nil:
		return "", "", exitcode.Usagef("--webhook-image %q: %w: give it as REPOSITORY:TAG or REPOSITORY@DIGEST, without a scheme", s.Webhook, err)
	case isWebhook(ref.Repository, rules.Registry()):
		return "", "", exitcode.Usagef("--webhook-image %s: the image is copied to this repository: name another one, or leave the image out with --no-webhook-image", s.Webhook)
	case ref.Tag == "" && ref.Digest == "":
		ref.Tag = rewrite.SplitReference(target).Tag
	}
	return ref.String(), target, nil
}

// isWebhook reports whether a target below a registry is the webhook's own image.
func isWebhook(target, registry string) bool {
	return rewrite.SplitReference(target).Repository == registry+"/"+deploy.Image
}

// Target returns the target of an image of a lock file, which may be for another
// registry. locked is its target there. The rules decide it, but for the webhook's own
// image, which has one repository wherever it comes from, and for charts.
func Target(l *lock.Lock, rules *rewrite.Rules, source, locked string) rewrite.Result {
	switch {
	case chartimage.IsChart(source):
		return rules.Chart(source)
	case !isWebhook(locked, l.Registry):
		return rules.Image(source)
	}
	target := rewrite.SplitReference(locked)
	target.Repository = deploy.WebhookRepository(rules)
	return rewrite.Result{Source: source, Target: target.String(), Outcome: rewrite.Rewritten, Rule: catalog.WebhookRule}
}

// replaceWebhook applies Webhook to the images of a lock file. The lock file decides
// between versions of the image that the command carries, until it is updated.
func (s Sources) replaceWebhook(jobs []mirror.Job, rules *rewrite.Rules, file LockFile) ([]mirror.Job, error) {
	source, target, err := s.webhook(rules)
	if err != nil {
		return nil, err
	}
	own := slices.IndexFunc(jobs, func(j mirror.Job) bool { return isWebhook(j.Target, rules.Registry()) })
	others := slices.DeleteFunc(slices.Clone(jobs), func(j mirror.Job) bool { return isWebhook(j.Target, rules.Registry()) })
	isNamed := !webhookimage.IsCarried(source)
	switch {
	case source == "":
		return others, nil
	case own < 0 && isNamed:
		return append(others, mirror.Job{Source: source, Target: target, Why: []string{catalog.WebhookOrigin().String()}}), nil
	case own < 0:
		return jobs, nil
	case isNamed, webhookimage.IsCarried(jobs[own].Source) && file.Update:
		return append(others, mirror.Job{Source: source, Target: target, Why: jobs[own].Why}), nil
	case webhookimage.IsCarried(jobs[own].Source) && jobs[own].Target != target:
		s.Warnf("%s lists %s, and this privatelink installs %s: replace it with --update", file.Name, jobs[own].Target, target)
	}
	return jobs, nil
}

// WebhookImage returns the webhook's image of this version with the digest that the lock
// file has for it. The error is fs.ErrNotExist if there is no lock file.
func (f LockFile) WebhookImage(ctx context.Context, rules *rewrite.Rules) (string, error) {
	l, err := f.Read(ctx, rules)
	if err != nil {
		return "", err
	}
	image, err := deploy.WebhookImage(rules)
	if err != nil {
		return "", err
	}
	for _, e := range l.Images {
		if e.Target == image {
			return fmt.Sprintf("%s@%s", image, e.Digest), nil
		}
	}
	return "", exitcode.Usagef("%s does not list %s: copy it with privatelink mirror", f.Name, image)
}
