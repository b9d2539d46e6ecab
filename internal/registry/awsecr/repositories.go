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
	batch    = 100  // the most names, or digests, that one request may have
	page     = 1000 // the most items that one answer has
	parallel = 8    // requests, where one per repository is needed
)

// Missing returns those of the repositories that do not exist, in their order.
// They are named with their host.
//
// One request asks for a hundred. Only if one of them is missing are they asked
// for one by one, since ECR then answers with nothing else than that. To list
// the whole registry instead would need a right on all of it.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html
func (r *Registry) Missing(ctx context.Context, repositories []string) ([]string, error) {
	var missing []string
	for names := range slices.Chunk(repositories, batch) {
		exist, err := r.exist(ctx, names)
		if err != nil {
			return nil, err
		}
		if !exist {
			some, err := r.missingOf(ctx, names)
			if err != nil {
				return nil, err
			}
			missing = append(missing, some...)
		}
	}
	return missing, nil
}

// exist tells whether all of the repositories do.
func (r *Registry) exist(ctx context.Context, repositories []string) (bool, error) {
	paths := make([]string, len(repositories))
	for i, name := range repositories {
		var err error
		if paths[i], err = r.path(name); err != nil {
			return false, err
		}
	}
	_, err := r.api.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RegistryId: &r.host.Account, RepositoryNames: paths})
	if code(err) == repositoryMissing {
		return false, nil
	}
	if len(paths) > 1 {
		return err == nil, r.explain(err, "DescribeRepositories", "*")
	}
	return err == nil, r.explain(err, "DescribeRepositories", paths[0])
}

func (r *Registry) missingOf(ctx context.Context, repositories []string) ([]string, error) {
	if len(repositories) == 1 {
		return repositories, nil
	}
	missing := make([]bool, len(repositories))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(parallel)
	for i, name := range repositories {
		all.Go(func() error {
			exists, err := r.exist(ctx, []string{name})
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

// Create makes a repository, named with its host, with its settings. One that
// exists is left as it is, which is no error.
//
// Policies are requests of their own. Once the repository is made they are sent
// even if ctx ends, so that no interrupted run leaves one without them.
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
	_, err = r.api.CreateRepository(ctx, s.input(r.host.Account, path))
	switch code(err) {
	case alreadyExists:
		return nil
	case invalidParameter, "InvalidTagParameterException", "ValidationException":
		return r.explainRefusal(err, path)
	}
	if err != nil {
		return r.explain(err, "CreateRepository", path)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return r.policies(ctx, path, s)
}

// explainRefusal is about a name or a setting that ECR does not take. Its own
// documents disagree on names with "__" and "--".
func (r *Registry) explainRefusal(err error, path string) error {
	e := &Error{Action: "ecr:CreateRepository", Resource: r.arn(path), Cause: err}
	e.Fix = fmt.Sprintf("if it is the name %q that ECR does not take, give it another one by a rule in privatelink.yaml; if it is a setting, change it there", path)
	return e
}

func (r *Registry) policies(ctx context.Context, path string, s Settings) error {
	var errs []error
	if s.LifecyclePolicy != "" {
		_, err := r.api.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RegistryId: &r.host.Account, RepositoryName: &path, LifecyclePolicyText: &s.LifecyclePolicy})
		errs = append(errs, r.explain(err, "PutLifecyclePolicy", path))
	}
	if s.RepositoryPolicy != "" {
		_, err := r.api.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RegistryId: &r.host.Account, RepositoryName: &path, PolicyText: &s.RepositoryPolicy})
		errs = append(errs, r.explain(err, "SetRepositoryPolicy", path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the repository %s was made, but not with all of its settings, and later runs leave it as it is; mend what is wrong, delete it and run again: %w", path, err)
	}
	return nil
}

// SharesBlobs tells whether a repository can mount a blob of another one: a
// setting of account and region, off unless somebody switched it on. Where it
// cannot be read the answer is no, and Warn is told why.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
func (r *Registry) SharesBlobs(ctx context.Context) (bool, error) {
	const setting = "BLOB_MOUNTING"
	// The setting that one gets is that of the caller's own account.
	t, err := r.token(ctx, false)
	if err != nil {
		return false, err
	}
	if t.account != "" && t.account != r.host.Account {
		r.warn(fmt.Sprintf("%s is another account than %s, whose credentials are used, so whether its repositories can share layers is not known; they are uploaded to each", r.host.Account, t.account))
		return false, nil
	}
	out, err := r.api.GetAccountSetting(ctx, &ecr.GetAccountSettingInput{Name: aws.String(setting)}, func(o *ecr.Options) {
		o.RetryMaxAttempts = 3 // there is an answer that does without
	})
	if err != nil {
		err = r.explain(err, "GetAccountSetting", "")
		if errors.Is(err, registry.ErrAuth) || ctx.Err() != nil {
			return false, err
		}
		r.warn("whether repositories can share layers is not known, so layers are uploaded to each: " + err.Error())
		return false, nil
	}
	if aws.ToString(out.Value) != "ENABLED" {
		r.warn(fmt.Sprintf("repositories of %s cannot share layers, so each gets its own upload; `aws ecr put-account-setting --name %s --value ENABLED --region %s` makes copies faster", r.host.Name, setting, r.host.Region))
		return false, nil
	}
	return true, nil
}

// Repositories lists those whose name, with the host, is the prefix or lies
// below it. ECR has no such question, so all of the registry is listed.
func (r *Registry) Repositories(ctx context.Context, prefix string) ([]string, error) {
	if rewrite.RegistryHost(prefix) != r.host.Name {
		return nil, fmt.Errorf("the prefix %q is not one of the registry %s", prefix, r.host.Name)
	}
	pages := ecr.NewDescribeRepositoriesPaginator(r.api, &ecr.DescribeRepositoriesInput{RegistryId: &r.host.Account, MaxResults: aws.Int32(page)})
	var names []string
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, r.explain(err, "DescribeRepositories", "*")
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
