// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"golang.org/x/sync/errgroup"

	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const (
	maxBatch    = 100  // names or digests in a request
	maxPage     = 1000 // items in a response
	maxParallel = 8    // requests, where one per repository is needed
)

// Missing returns the repositories that do not exist, in the order of the argument.
// Names include the host.
//
// A request describes 100 repositories. If one of them does not exist, ECR does not
// return the others, and each is described on its own. Listing all repositories
// instead would require permissions on the whole registry.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html
func (r *Registry) Missing(ctx context.Context, repositories []string) ([]string, error) {
	var missing []string
	for names := range slices.Chunk(repositories, maxBatch) {
		exist, err := r.allExist(ctx, names)
		if err != nil {
			return nil, err
		}
		if exist {
			continue
		}
		some, err := r.findMissing(ctx, names)
		if err != nil {
			return nil, err
		}
		missing = append(missing, some...)
	}
	return missing, nil
}

// allExist reports whether all of the repositories exist.
func (r *Registry) allExist(ctx context.Context, repositories []string) (bool, error) {
	paths := make([]string, len(repositories))
	for i, name := range repositories {
		var err error
		if paths[i], err = r.path(name); err != nil {
			return false, err
		}
	}
	_, err := r.api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RegistryId: &r.host.Account, RepositoryNames: paths})
	if codeOf(err) == repositoryMissing {
		return false, nil
	}
	resource := "*"
	if len(paths) == 1 {
		resource = paths[0]
	}
	return err == nil, r.wrapError(err, "DescribeRepositories", resource)
}

// findMissing describes the repositories one by one.
func (r *Registry) findMissing(ctx context.Context, repositories []string) ([]string, error) {
	if len(repositories) == 1 {
		return repositories, nil
	}
	missing := make([]bool, len(repositories))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(maxParallel)
	for i, name := range repositories {
		all.Go(func() error {
			exists, err := r.allExist(ctx, []string{name})
			missing[i] = !exists
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	var names []string
	for i, name := range repositories {
		if missing[i] {
			names = append(names, name)
		}
	}
	return names, nil
}

// Create creates a repository with its settings. The name includes the host. A
// repository that already exists is not changed, which is not an error.
//
// Policies are set by separate requests. Once the repository exists they are sent
// even if ctx is canceled, so that an interrupted run does not leave a repository
// without them.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
func (r *Registry) Create(ctx context.Context, repository string) error {
	path, err := r.path(repository)
	if err != nil {
		return err
	}
	s := r.settings(path)
	if err := s.Validate(path); err != nil {
		return err
	}
	_, err = r.api.CreateRepository(ctx, s.createInput(r.host.Account, path))
	switch codeOf(err) {
	case alreadyExists:
		return nil
	case invalidParameter, "InvalidTagParameterException", "ValidationException":
		return r.wrapInvalid(err, path)
	}
	if err != nil {
		return r.wrapError(err, "CreateRepository", path)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return r.setPolicies(ctx, path, s)
}

// wrapInvalid returns the error for a name or a setting that ECR rejects. AWS's
// documents disagree on whether names may contain "__" and "--".
func (r *Registry) wrapInvalid(err error, path string) error {
	return &Error{Action: "ecr:CreateRepository", Resource: r.arn(path), Cause: err,
		Fix: fmt.Sprintf("if ECR rejects the name %q, map it to another one with a rule in privatelink.yaml; if ECR rejects a setting, change it there", path)}
}

func (r *Registry) setPolicies(ctx context.Context, path string, s Settings) error {
	var errs []error
	if s.LifecyclePolicy != "" {
		_, err := r.api.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RegistryId: &r.host.Account, RepositoryName: &path, LifecyclePolicyText: &s.LifecyclePolicy})
		errs = append(errs, r.wrapError(err, "PutLifecyclePolicy", path))
	}
	if s.RepositoryPolicy != "" {
		_, err := r.api.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RegistryId: &r.host.Account, RepositoryName: &path, PolicyText: &s.RepositoryPolicy})
		errs = append(errs, r.wrapError(err, "SetRepositoryPolicy", path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("repository %s was created without all of its settings, and later runs do not change it: correct the cause, delete the repository and run again: %w", path, err)
	}
	return nil
}

// SharesBlobs reports whether repositories can mount blobs of each other, which is a
// setting of account and region that is off by default. If it cannot be read, the
// result is false, with a warning.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
func (r *Registry) SharesBlobs(ctx context.Context) (bool, error) {
	const setting = "BLOB_MOUNTING"
	// GetAccountSetting returns the setting of the caller's account.
	t, err := r.token(ctx, false)
	if err != nil {
		return false, err
	}
	if t.account != "" && t.account != r.host.Account {
		r.warn(fmt.Sprintf("registry %s is not in the account %s of the credentials, so it is unknown whether its repositories can share layers; layers are uploaded to each repository", r.host.Account, t.account))
		return false, nil
	}
	out, err := r.api.GetAccountSetting(ctx, &ecr.GetAccountSettingInput{Name: aws.String(setting)}, func(o *ecr.Options) {
		o.RetryMaxAttempts = 3 // the setting is optional
	})
	if err != nil {
		err = r.wrapError(err, "GetAccountSetting", "")
		if errors.Is(err, registry.ErrAuth) || ctx.Err() != nil {
			return false, err
		}
		r.warn("it is unknown whether repositories can share layers, so layers are uploaded to each repository: " + err.Error())
		return false, nil
	}
	if aws.ToString(out.Value) != "ENABLED" {
		r.warn(fmt.Sprintf("repositories of %s cannot share layers, so layers are uploaded to each repository; to enable sharing, run `aws ecr put-account-setting --name %s --value ENABLED --region %s`", r.host.Name, setting, r.host.Region))
		return false, nil
	}
	return true, nil
}

// Repositories lists the repositories whose name, including the host, is the prefix
// or is below it. It lists the whole registry, since ECR cannot filter by prefix.
func (r *Registry) Repositories(ctx context.Context, prefix string) ([]string, error) {
	if rewrite.RegistryHost(prefix) != r.host.Name {
		return nil, fmt.Errorf("prefix %q is not in registry %s", prefix, r.host.Name)
	}
	pages := ecr.NewDescribeRepositoriesPaginator(r.api, &ecr.DescribeRepositoriesInput{RegistryId: &r.host.Account, MaxResults: aws.Int32(maxPage)})
	var names []string
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, r.wrapError(err, "DescribeRepositories", "*")
		}
		for _, found := range out.Repositories {
			name := r.host.Name + "/" + aws.ToString(found.RepositoryName)
			if name == prefix || strings.HasPrefix(name, strings.TrimSuffix(prefix, "/")+"/") {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
