// SPDX-License-Identifier: Apache-2.0

// Package awsapi has what the checks that use AWS share: the configuration of the
// SDK, findings for failed requests, and the nodes of a cluster. It only reads.
package awsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// Load reads the configuration of AWS from the environment and the shared files.
// It sends no request. The region is that of the cluster or registry, and
// overrides AWS_REGION. An empty profile means AWS_PROFILE or the default one.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
func Load(ctx context.Context, region, profile string) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(region)}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("loading the AWS configuration: %w; check ~/.aws/config, AWS_PROFILE and --profile", err)
	}
	return c, nil
}

// Error is a failed request.
type Error struct {
	// Action is the IAM action that the request needs, such as ec2:DescribeVpcs.
	Action string
	Err    error
}

// NewError returns an Error, or nil if err is nil.
func NewError(action string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{action, err}
}

// Error omits how the SDK sent the request.
func (e *Error) Error() string {
	if api, ok := errors.AsType[smithy.APIError](e.Err); ok {
		return e.Action + ": " + api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return e.Action + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Unknown returns the finding for an error that NewError made or that wraps one.
func Unknown(err error) doctor.Finding { return doctor.Unknownf(remedy(err), "%v", err) }

func remedy(err error) string {
	switch code := Code(err); {
	case isDenied(code):
		action := "the permission"
		if request, ok := errors.AsType[*Error](err); ok {
			action = request.Action
		}
		return "the caller needs " + action + "; see aws sts get-caller-identity, or use another --profile"
	case isUnauthenticated(code):
		return "log in to AWS again (aws sso login, or new access keys), and check with aws sts get-caller-identity"
	case code != "":
		return "try again; aws sts get-caller-identity shows whether AWS responds at all"
	case strings.Contains(err.Error(), "failed to refresh cached credentials"), strings.Contains(err.Error(), "get credentials"):
		return "provide AWS credentials: aws configure, AWS_PROFILE or --profile"
	}
	return "run it where the AWS APIs can be reached: a VPC without internet access needs an endpoint for each service that is called"
}

// Code returns the error code of AWS, or "" if err is not an error of its API.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func isDenied(code string) bool {
	return slices.Contains([]string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException"}, code)
}

func isUnauthenticated(code string) bool {
	return slices.Contains([]string{
		"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure",
		"SignatureDoesNotMatch", "InvalidSignatureException", "MissingAuthenticationToken", "OptInRequired",
	}, code)
}

// Pages is a paginator of the SDK.
type Pages[Page, Options any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Options)) (Page, error)
}

// Collect returns the items of all pages. action is as in Error.
func Collect[Page, Options, Item any](ctx context.Context, action string, pages Pages[Page, Options], items func(Page) []Item) (all []Item, err error) {
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, NewError(action, err)
		}
		all = append(all, items(page)...)
	}
	return all, nil
}

// Nodes returns the instances that run as nodes of an EKS cluster. The cloud
// provider requires this tag, so EKS, CAST AI and Karpenter all set it.
func Nodes(ctx context.Context, client *ec2.Client, cluster string) (instances []types.Instance, err error) {
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:kubernetes.io/cluster/" + cluster), Values: []string{"owned", "shared"}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running"}},
	}})
	reservations, err := Collect(ctx, "ec2:DescribeInstances", pages, func(p *ec2.DescribeInstancesOutput) []types.Reservation { return p.Reservations })
	for _, r := range reservations {
		instances = append(instances, r.Instances...)
	}
	return instances, err
}
