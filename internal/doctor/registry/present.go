// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// login asks for a token, and then for one manifest, which may well be missing.
func (l *looking) login(ctx context.Context) doctor.Finding {
	host := rewrite.RegistryHost(l.Registry)
	if l.ECR != nil {
		if _, err := l.ECR.Credential(ctx); err != nil {
			return refused(host, err)
		}
	}
	repository, name := l.Registry+"/privatelink-webhook", "latest"
	if all, err := l.theImages(ctx); err == nil && len(all) > 0 {
		target := rewrite.SplitReference(all[0].Target)
		repository, name = target.Repository, target.Identifier()
	}
	if _, err := l.Client.Resolve(ctx, repository, name); err != nil && !errors.Is(err, registry.ErrNotFound) {
		return refused(host, err)
	}
	return doctor.OKf("%s lets us read", host)
}

// refused is the finding for a registry that did not answer as asked. Without
// credentials nothing was seen; with wrong ones the registry said no.
func refused(host string, err error) doctor.Finding {
	var api smithy.APIError
	ecr := rewrite.IsECRHost(host)
	switch {
	case errors.Is(err, registry.ErrDenied) && ecr:
		return doctor.Failf("allow the role of `aws sts get-caller-identity` the IAM actions ecr:GetAuthorizationToken on *, and ecr:BatchGetImage and ecr:DescribeRepositories on the repositories", "%v", err)
	case errors.Is(err, registry.ErrAuth) && ecr && !errors.As(err, &api) && !answered(err):
		return doctor.Unknownf("give AWS credentials: `aws sso login`, AWS_PROFILE or --profile", "no credentials: %v", err)
	case errors.Is(err, registry.ErrAuth) && ecr:
		return doctor.Failf("renew the AWS credentials, for instance with `aws sso login`, and see `aws sts get-caller-identity`", "%v", err)
	case errors.Is(err, registry.ErrAuth), errors.Is(err, registry.ErrDenied):
		return doctor.Failf("docker login "+host, "%v", err)
	}
	return unseen(host, err)
}

// answered tells a registry's own no from that of the way to credentials.
func answered(err error) bool {
	var e *registry.Error
	return errors.As(err, &e)
}

// unseen is the finding for a request without a useful answer.
func unseen(host string, err error) doctor.Finding {
	remedy := fmt.Sprintf("see whether this machine reaches it: curl -I https://%s/v2/", host)
	if rewrite.IsECRHost(host) {
		remedy += "; from inside a VPC without internet that needs the endpoints ecr.api, ecr.dkr and s3"
	}
	if errors.Is(err, registry.ErrDenied) {
		remedy = "allow the role of `aws sts get-caller-identity` the IAM action that the error names, or ecr:BatchGetImage"
	}
	return doctor.Unknownf(remedy, "%v", err)
}

// unread is the finding when the caller cannot say what should be there.
func unread(what string, err error) doctor.Finding {
	return doctor.Unknownf("give a cluster with --kubeconfig and --context, or a lock file with --lock", "%s: %v", what, err)
}

// theImages are the images, without the webhook's own.
func (l *looking) theImages(ctx context.Context) ([]Image, error) {
	return l.wanted.Get(ctx, func(ctx context.Context) ([]Image, error) {
		all, err := l.Images(ctx)
		if err != nil {
			return nil, err
		}
		own, err := l.Webhook(ctx)
		if err != nil {
			own = "" // its check says so
		}
		return slices.DeleteFunc(slices.Clone(all), func(i Image) bool { return same(i, own) }), nil
	})
}

// same tells whether a reference is that of an image, by tag or by digest.
func same(i Image, ref string) bool {
	target, other := rewrite.SplitReference(i.Target), rewrite.SplitReference(ref)
	return target.Repository == other.Repository && (target.Identifier() == other.Identifier() || other.Identifier() == i.Digest.String())
}

// theMissing are the repositories that ECR lacks.
func (l *looking) theMissing(ctx context.Context) ([]string, error) {
	return l.missing.Get(ctx, func(ctx context.Context) ([]string, error) {
		all, err := l.theImages(ctx)
		if err != nil || l.ECR == nil || len(all) == 0 {
			return nil, err
		}
		var repositories []string
		for _, i := range all {
			repository := rewrite.SplitReference(i.Target).Repository
			repositories = append(repositories, repository)
		}
		slices.Sort(repositories)
		return l.ECR.Missing(ctx, slices.Compact(repositories))
	})
}

func (l *looking) repositories(ctx context.Context) doctor.Finding {
	if l.ECR == nil {
		return doctor.Finding{Status: doctor.Skipped, Found: "only ECR needs repositories to be made first"}
	}
	if _, err := l.theImages(ctx); err != nil {
		return unread("which images are needed is not known", err)
	}
	missing, err := l.theMissing(ctx)
	switch {
	case err != nil:
		return unseen(rewrite.RegistryHost(l.Registry), err)
	case len(missing) > 0:
		return doctor.Failf(l.Copy+", which makes them; or the Terraform module's list of repositories, and then the same command",
			"%d repositories are missing: %s", len(missing), doctor.List(missing, 3)).With(missing...)
	}
	return doctor.OKf("all are there")
}

// theStates asks for all images, but those whose repository is missing.
func (l *looking) theStates(ctx context.Context) ([]state, error) {
	return l.found.Get(ctx, func(ctx context.Context) ([]state, error) {
		all, err := l.theImages(ctx)
		if err != nil {
			return nil, err
		}
		missing, _ := l.theMissing(ctx) // not known: then an image is missing, which is true as well
		var states []state
		for _, i := range all {
			repository := rewrite.SplitReference(i.Target).Repository
			if !slices.Contains(missing, repository) {
				states = append(states, state{Image: i, repository: repository})
			}
		}
		var group errgroup.Group
		group.SetLimit(parallel)
		for n := range states {
			group.Go(func() error {
				states[n].descriptor, states[n].err = l.Client.Resolve(ctx, states[n].repository, rewrite.SplitReference(states[n].Target).Identifier())
				return nil
			})
		}
		return states, group.Wait()
	})
}

func (l *looking) images(ctx context.Context) doctor.Finding {
	states, err := l.theStates(ctx)
	if err != nil {
		return unread("which images are needed is not known", err)
	}
	var lacking, other, details []string
	var failed error
	for _, s := range states {
		switch {
		case errors.Is(s.err, registry.ErrNotFound):
			lacking = append(lacking, s.Target)
			details = append(details, "missing: "+s.Target)
		case s.err != nil:
			failed = cmp.Or(failed, s.err)
			details = append(details, fmt.Sprintf("not seen: %s: %v", s.Target, s.err))
		case s.Digest != "" && s.descriptor.Digest != s.Digest:
			other = append(other, s.Target)
			details = append(details, fmt.Sprintf("differs: %s is %s, and %s in the lock file", s.Target, s.descriptor.Digest, s.Digest))
		}
	}
	var parts, remedies []string
	if len(lacking) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d images are missing: %s", len(lacking), len(states), doctor.List(lacking, 3)))
		remedies = append(remedies, l.Copy)
	}
	if len(other) > 0 {
		parts = append(parts, fmt.Sprintf("%d have another digest than the lock file: %s", len(other), doctor.List(other, 3)))
		remedies = append(remedies, l.Copy+" --overwrite, if the lock file is right; with --update as well, if what it says is old")
	}
	switch {
	case len(parts) > 0:
		return doctor.Failf(strings.Join(remedies, "\n"), "%s", strings.Join(parts, "; ")).With(details...)
	case failed != nil:
		return unseen(rewrite.RegistryHost(l.Registry), failed).With(details...)
	case len(states) == 0:
		return l.nothing(ctx)
	}
	return doctor.OKf("%d images are there", len(states))
}

// nothing is the finding when there is no image to look at: none is needed, or
// all lack their repository, which another check tells.
func (l *looking) nothing(ctx context.Context) doctor.Finding {
	if all, err := l.theImages(ctx); err == nil && len(all) > 0 {
		return doctor.OKf("no image beside those without a repository")
	}
	return doctor.Unknownf("copy images, which writes a lock file: "+l.Copy, "neither lock file nor cluster names an image")
}
