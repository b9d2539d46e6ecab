// SPDX-License-Identifier: Apache-2.0

package awsapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/castai/privatelink-webhook/internal/awssdk"
)

// Load reads the configuration of AWS from the environment and the shared files.
// It sends no request. The region is that of the cluster or registry, and
// overrides AWS_REGION. An empty profile means AWS_PROFILE or the default one.
//
// Requests fail soon enough for a check to report why: throttled ones are repeated
// twice, and the instance metadata service, which the SDK asks last for credentials
// and which only instances have, gets one second.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
func Load(ctx context.Context, region, profile string) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) {
			o.Client = imds.New(imds.Options{HTTPClient: &http.Client{Timeout: time.Second}, Retryer: aws.NopRetryer{}})
		}),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 3, time.Second })
		}),
	}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	c, err := awssdk.Load(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("loading the AWS configuration: %w; check ~/.aws/config, AWS_PROFILE and --profile", err)
	}
	return c, nil
}
