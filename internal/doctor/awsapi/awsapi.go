// SPDX-License-Identifier: Apache-2.0

// Package awsapi is what the checks that ask AWS have in common: how its
// configuration is loaded, how a request that failed is told, and who the nodes
// of a cluster are.
//
// It only reads.
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

// Load reads the configuration of AWS as all its programs do, and sends nothing
// yet. The region is that of the cluster or the registry, never that of the
// shell. An empty profile is the SDK's choice, which honours AWS_PROFILE;
// AWS_ENDPOINT_URL_* replace endpoints.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
func Load(ctx context.Context, region, profile string) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(region)}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("AWS configuration: %w; check ~/.aws/config, AWS_PROFILE and --profile", err)
	}
	return c, nil
}

// Unseen is the finding for a request that failed. Action is the IAM action that
// it needs, such as ec2:DescribeVpcs.
func Unseen(action string, err error) doctor.Finding {
	return doctor.Unknownf(remedy(action, err), "%s: %s", action, Reason(err))
}

// Reason is an error without the SDK's account of how it got there.
func Reason(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return err.Error()
}

func remedy(action string, err error) string {
	switch code := Code(err); {
	case Denied(err):
		return "the caller needs " + action + "; see aws sts get-caller-identity, or use another --profile"
	case slices.Contains([]string{"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException", "MissingAuthenticationToken", "OptInRequired"}, code):
		return "log in to AWS again (aws sso login, or new keys), and check it by aws sts get-caller-identity"
	case code != "":
		return "try again; aws sts get-caller-identity shows whether AWS answers at all"
	case strings.Contains(err.Error(), "failed to refresh cached credentials"), strings.Contains(err.Error(), "get credentials"):
		return "give credentials of AWS: aws configure, AWS_PROFILE or --profile"
	}
	return "run it where the API of AWS can be reached: a VPC without Internet needs an endpoint for each service that is asked"
}

// Code is what AWS calls an error, or "" for one that is not AWS's.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// Denied tells whether the caller lacks a permission.
func Denied(err error) bool {
	return slices.Contains([]string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException"}, Code(err))
}

// Nodes returns the instances that run as nodes of an EKS cluster. EKS, CAST AI
// and Karpenter all give them this tag, which the cloud provider asks for.
func Nodes(ctx context.Context, api *ec2.Client, cluster string) (all []types.Instance, err error) {
	pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:kubernetes.io/cluster/" + cluster), Values: []string{"owned", "shared"}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running"}},
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			all = append(all, r.Instances...)
		}
	}
	return all, nil
}
