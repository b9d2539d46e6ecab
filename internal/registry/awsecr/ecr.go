// SPDX-License-Identifier: Apache-2.0

// Package awsecr accesses the Amazon ECR API: it creates repositories, lists and
// deletes images, and provides credentials. Package registry transfers the images.
//
// Account and region are those of the registry's host, never those of the
// environment: a run with the wrong credentials fails, instead of writing to the
// wrong account.
package awsecr

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/castai/privatelink-webhook/internal/awssdk"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Config configures a Registry. Prefix is required.
type Config struct {
	// Prefix is the host of the registry, or a repository prefix that begins with it.
	Prefix string
	// Profile is the AWS profile. Default: that of the SDK, such as AWS_PROFILE.
	Profile string
	// Settings returns the settings of a repository to create, by its name without
	// the host. Default: those of ECR.
	Settings func(repository string) Settings
	// Warn receives messages that do not stop a run. Default: they are discarded.
	Warn func(message string)
	// Quick makes requests fail in seconds if they are throttled, or if there are no
	// credentials and the instance metadata service does not answer.
	Quick bool
}

// Registry is the ECR registry of an account in a region. It is safe for concurrent
// use. Errors of requests are of type *Error.
type Registry struct {
	host     rewrite.ECRHost
	settings func(repository string) Settings
	warn     func(message string)
	config   aws.Config
	api      *ecr.Client
	tokens   tokenCache
}

// maxAttempts replaces the SDK's default of 3, which is too low for a quota that is
// shared with other clients.
const maxAttempts = 10

// New reads the AWS configuration. It sends no request, so missing credentials are
// an error of the first request. Credentials and endpoints are resolved as by all
// AWS SDKs, including AWS_ENDPOINT_URL_ECR.
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
	options := []func(*config.LoadOptions) error{config.WithRegion(h.Region), config.WithRetryer(func() aws.Retryer { return newRetryer(maxAttempts) })}
	if c.Quick {
		options = append(options, config.WithRetryer(func() aws.Retryer { return newRetryer(3) }), config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) {
			o.Client = imds.New(imds.Options{HTTPClient: &http.Client{Timeout: time.Second}, Retryer: aws.NopRetryer{}})
		}))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	loaded, err := awssdk.Load(ctx, options...)
	if err != nil {
		return nil, &ConfigurationError{err}
	}
	if loaded.Credentials != nil {
		loaded.Credentials = taggedCredentials{loaded.Credentials}
	}
	api := ecr.NewFromConfig(loaded, func(o *ecr.Options) {
		// A FIPS host requires the FIPS endpoint of the API, which the SDK rejects in
		// combination with a custom endpoint. A dual-stack host does not require the
		// dual-stack endpoint, for which there is no VPC endpoint.
		// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
		if h.FIPS && o.BaseEndpoint == nil {
			o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
		}
	})
	return &Registry{host: h, settings: c.Settings, warn: c.Warn, config: loaded, api: api, tokens: tokenCache{now: time.Now}}, nil
}

// Host returns the host name of the registry, split into its parts.
func (r *Registry) Host() rewrite.ECRHost { return r.host }

// newRetryer returns a retryer that does not retry LimitExceededException. The SDK
// classifies it as throttling, but it means that a quota of resources is exhausted.
func newRetryer(attempts int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = 5 * time.Second
		exhausted := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if codeOf(err) == limitExceeded {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{exhausted}, o.Retryables...)
	})
}

// arn returns the ARN of a repository, or of all repositories if it is "*".
func (r *Registry) arn(repository string) string {
	return fmt.Sprintf("arn:%s:ecr:%s:%s:repository/%s", r.host.Partition, r.host.Region, r.host.Account, repository)
}

// path returns the name of a repository without the host.
func (r *Registry) path(repository string) (string, error) {
	path, ok := strings.CutPrefix(repository, r.host.Name+"/")
	if !ok || path == "" {
		return "", fmt.Errorf("repository %q is not in registry %s", repository, r.host.Name)
	}
	return path, nil
}
