// SPDX-License-Identifier: Apache-2.0

// Package awsecr is the part of Amazon ECR that is not a registry: repositories and
// their settings, login, and what images a repository has.
//
// Only what the Docker protocol cannot do is done here, by the AWS SDK; images
// travel by package registry. Account and region come from the name of the
// registry, never from the environment: a mirror that is run in the wrong shell
// fails, instead of filling the wrong account.
package awsecr

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Config is what a Registry needs. Prefix is required.
type Config struct {
	// Prefix is the registry's host, or a prefix of repositories in it.
	Prefix string
	// Profile of the AWS configuration; default: the SDK's choice, which honours
	// AWS_PROFILE.
	Profile string
	// Settings of a repository that Create makes, by its name without the host.
	// Default: those that ECR gives.
	Settings func(repository string) Settings
	// Warn is told what is worth knowing and stops nothing. Default: discards.
	Warn func(message string)
}

// Registry is one account's ECR in one region. It is safe for concurrent use.
//
// Its errors are of type *Error.
type Registry struct {
	host     rewrite.ECRHost
	settings func(repository string) Settings
	warn     func(message string)
	api      *ecr.Client
	tokens   tokens
}

// attempts is how often the SDK tries a request. Its three are too few against a
// quota that others use as well.
const attempts = 10

// New reads the configuration of AWS. It sends nothing yet; that there are no
// credentials shows with the first request.
//
// Credentials are found as all programs of AWS do it. AWS_ENDPOINT_URL_ECR
// replaces the endpoint.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
func New(ctx context.Context, c Config) (*Registry, error) {
	h, err := rewrite.ParseECRHost(c.Prefix)
	if err != nil {
		return nil, err
	}
	if c.Settings == nil {
		c.Settings = func(string) Settings { return Settings{} }
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	for _, w := range h.Warnings() {
		c.Warn(w)
	}
	options := []func(*config.LoadOptions) error{config.WithRegion(h.Region), config.WithRetryer(newRetryer)}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w; check ~/.aws/config, AWS_PROFILE and --profile", err)
	}
	if loaded.Credentials != nil {
		loaded.Credentials = marked{loaded.Credentials}
	}
	api := ecr.NewFromConfig(loaded, func(o *ecr.Options) {
		// Whoever pushes to FIPS hosts must not leave FIPS for the rest. An endpoint
		// given by hand excludes it, by the SDK's rules. A dual-stack host says
		// nothing of the API: VPC endpoints only serve its IPv4 name.
		// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
		if h.FIPS && o.BaseEndpoint == nil {
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
		}
	})
	return &Registry{host: h, settings: c.Settings, warn: c.Warn, api: api, tokens: tokens{now: time.Now}}, nil
}

// Host returns the host name of the registry, split into its parts.
func (r *Registry) Host() rewrite.ECRHost { return r.host }

// newRetryer waits and tries again when ECR throttles. A full quota of things is
// not passing, though the SDK takes LimitExceededException for throttling.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = 5 * time.Second
		full := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if code(err) == limitExceeded {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{full}, o.Retryables...)
	})
}

// arn names a repository, or all of the registry if it is "*".
func (r *Registry) arn(repository string) string {
	return fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s", r.host.Partition, r.host.Region, r.host.Account, repository)
}

// path is a repository's name without the host, as the API wants it.
func (r *Registry) path(repository string) (string, error) {
	path, ok := strings.CutPrefix(repository, r.host.Name+"/")
	if !ok || path == "" {
		return "", fmt.Errorf("repository %q is not one of the registry %s", repository, r.host.Name)
	}
	return path, nil
}
