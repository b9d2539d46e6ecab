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
	"github.com/castai/privatelink-webhook/internal/doctor/awsapi"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// login requests a token, and then a manifest, which need not exist.
func (k *checker) login(ctx context.Context) doctor.Finding {
	host := rewrite.RegistryHost(k.Registry)
	if k.ECR != nil {
		if _, err := k.ECR.Credential(ctx); err != nil {
			return loginFailed(host, err)
		}
	}
	repository, name := k.Registry+"/privatelink-webhook", "latest"
	if images, err := k.requiredImages(ctx); err == nil && len(images) > 0 {
		target := rewrite.SplitReference(images[0].Target)
		repository, name = target.Repository, target.Identifier()
	}
	if _, err := k.Client.Resolve(ctx, repository, name); err != nil && !errors.Is(err, registry.ErrNotFound) {
		return loginFailed(host, err)
	}
	return doctor.OKf("%s can be read", host)
}

// loginFailed returns the finding for a refused login. Without valid credentials of AWS
// nothing is known of the registry.
func loginFailed(host string, err error) doctor.Finding {
	isECR := rewrite.IsECRHost(host)
	explained, isExplained := awsapi.DenialRemedy("the IAM action in the error", err.Error())
	switch {
	case errors.Is(err, registry.ErrDenied) && isECR && isExplained:
		return doctor.Failf(explained, "%v", err)
	case isECR && awsapi.IsLogin(err) && !isResponse(err):
		return doctor.Unknownf(awsapi.Remedy(err), "no credentials: %v", err)
	case isECR && awsapi.IsLogin(err), isECR && strings.Contains(err.Error(), "proxyconnect"):
		return doctor.Unknownf(awsapi.Remedy(err), "%v", err)
	case errors.Is(err, registry.ErrDenied) && isECR:
		return doctor.Failf("allow the role of `aws sts get-caller-identity` the IAM actions ecr:GetAuthorizationToken on *, and ecr:BatchGetImage and ecr:DescribeRepositories on the repositories", "%v", err)
	case errors.Is(err, registry.ErrAuth) && isECR && !isResponse(err):
		return doctor.Unknownf("set AWS credentials: `aws sso login`, AWS_PROFILE or --profile", "no credentials: %v", err)
	case errors.Is(err, registry.ErrAuth) && isECR:
		return doctor.Unknownf("renew the AWS credentials, for instance with `aws sso login`, and verify them with `aws sts get-caller-identity`", "%v", err)
	case errors.Is(err, registry.ErrAuth), errors.Is(err, registry.ErrDenied):
		return doctor.Failf("docker login "+host, "%v", err)
	}
	return requestFailed(host, err)
}

// isResponse reports whether an error is a response of the registry or of AWS,
// and not one of loading credentials.
func isResponse(err error) bool {
	var response *registry.Error
	var api smithy.APIError
	return errors.As(err, &response) || errors.As(err, &api)
}

// requestFailed returns the finding for a request that failed.
func requestFailed(host string, err error) doctor.Finding {
	remedy := fmt.Sprintf("verify that this machine reaches the registry: curl -I https://%s/v2/", host)
	if rewrite.IsECRHost(host) {
		remedy += "; inside a VPC without internet access, the endpoints ecr.api, ecr.dkr and s3 are required"
	}
	switch {
	case errors.Is(err, registry.ErrThrottled):
		remedy = "wait a minute, and run it again: the registry limits the rate of requests; --only selects fewer checks"
	case errors.Is(err, registry.ErrDenied):
		remedy = "allow the role of `aws sts get-caller-identity` the IAM action in the error, or ecr:BatchGetImage"
	}
	return doctor.Unknownf(remedy, "%v", err)
}

// inputFailed returns the finding for an error of a function of Config.
func inputFailed(what string, err error) doctor.Finding {
	return doctor.Unknownf(doctor.RemedyFor(err, "select a cluster with --kubeconfig and --context, or a lock file with --lock"), "%s: %v", what, err)
}

// requiredImages returns the required images except the webhook's own.
func (k *checker) requiredImages(ctx context.Context) ([]RequiredImage, error) {
	return k.required.Get(ctx, func(ctx context.Context) ([]RequiredImage, error) {
		images, err := k.listed.Get(ctx, k.Images)
		if err != nil {
			return nil, err
		}
		webhook, err := k.Webhook(ctx)
		if err != nil {
			webhook = "" // reported by webhook-image
		}
		return slices.DeleteFunc(slices.Clone(images), func(i RequiredImage) bool { return i.matches(webhook) }), nil
	})
}

// matches reports whether a reference selects the image, by tag or by digest.
func (i RequiredImage) matches(ref string) bool {
	target, other := rewrite.SplitReference(i.Target), rewrite.SplitReference(ref)
	return target.Repository == other.Repository && (target.Identifier() == other.Identifier() || other.Identifier() == i.Digest.String())
}

// missingRepositories returns the required repositories that ECR does not have.
func (k *checker) missingRepositories(ctx context.Context) ([]string, error) {
	return k.missing.Get(ctx, func(ctx context.Context) ([]string, error) {
		images, err := k.requiredImages(ctx)
		if err != nil || k.ECR == nil || len(images) == 0 {
			return nil, err
		}
		var repositories []string
		for _, i := range images {
			repository := rewrite.SplitReference(i.Target).Repository
			repositories = append(repositories, repository)
		}
		return k.ECR.Missing(ctx, doctor.Distinct(repositories))
	})
}

func (k *checker) repositories(ctx context.Context) doctor.Finding {
	if k.ECR == nil {
		return doctor.Skippedf("only ECR requires that repositories are created first")
	}
	if _, err := k.requiredImages(ctx); err != nil {
		return inputFailed("the required images are not known", err)
	}
	missing, err := k.missingRepositories(ctx)
	switch {
	case err != nil:
		return requestFailed(rewrite.RegistryHost(k.Registry), err)
	case len(missing) > 0:
		return doctor.Failf(k.Mirror+", which creates them; or add them to the repositories of the Terraform module, and then run the same command",
			"%d repositories are missing: %s", len(missing), doctor.List(missing, 3)).With(missing...)
	}
	return doctor.OKf("all repositories exist")
}

// imageStates resolves all images. One whose repository is missing is not found, also in
// a registry that responds something else for it.
func (k *checker) imageStates(ctx context.Context) ([]imageState, error) {
	return k.states.Get(ctx, func(ctx context.Context) ([]imageState, error) {
		images, err := k.requiredImages(ctx)
		if err != nil {
			return nil, err
		}
		missing, _ := k.missingRepositories(ctx) // if unknown, the registry is asked for their images
		var states []imageState
		for _, i := range images {
			state := imageState{RequiredImage: i, repository: rewrite.SplitReference(i.Target).Repository}
			if slices.Contains(missing, state.repository) {
				state.err = fmt.Errorf("%s: there is no such repository: %w", i.Target, registry.ErrNotFound)
			}
			states = append(states, state)
		}
		var group errgroup.Group
		group.SetLimit(parallel)
		for n := range states {
			if states[n].err != nil {
				continue
			}
			group.Go(func() error {
				name := rewrite.SplitReference(states[n].Target).Identifier()
				states[n].descriptor, states[n].err = k.Client.Resolve(ctx, states[n].repository, name)
				return nil
			})
		}
		return states, group.Wait()
	})
}

func (k *checker) images(ctx context.Context) doctor.Finding {
	states, err := k.imageStates(ctx)
	if err != nil {
		return inputFailed("the required images are not known", err)
	}
	var missing, different, details []string
	var firstErr error
	for _, s := range states {
		switch {
		case errors.Is(s.err, registry.ErrNotFound):
			missing = append(missing, s.Target)
			details = append(details, "missing: "+s.Target)
		case s.err != nil:
			firstErr = cmp.Or(firstErr, s.err)
			details = append(details, fmt.Sprintf("unknown: %s: %v", s.Target, s.err))
		case s.Digest != "" && s.descriptor.Digest != s.Digest:
			different = append(different, s.Target)
			details = append(details, fmt.Sprintf("differs: %s is %s, and %s in the lock file", s.Target, s.descriptor.Digest, s.Digest))
		}
	}
	var parts, remedies []string
	if len(missing) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d images are missing: %s", len(missing), len(states), doctor.List(missing, 3)))
		remedies = append(remedies, k.Mirror)
	}
	if len(different) > 0 {
		parts = append(parts, fmt.Sprintf("%d have another digest than the lock file: %s", len(different), doctor.List(different, 3)))
		remedies = append(remedies, k.Mirror+" --overwrite, if the lock file is correct; add --update if it is out of date")
	}
	switch {
	case len(parts) > 0:
		return doctor.Failf(strings.Join(remedies, "\n"), "%s", strings.Join(parts, "; ")).With(details...)
	case firstErr != nil:
		return requestFailed(rewrite.RegistryHost(k.Registry), firstErr).With(details...)
	case len(states) == 0:
		return k.noImages()
	}
	return doctor.OKf("%d images exist", len(states))
}

// noImages returns the finding if no image is required.
func (k *checker) noImages() doctor.Finding {
	return doctor.Unknownf("copy images, which writes a lock file: "+k.Mirror, "neither a lock file nor the cluster lists images")
}
