// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"context"
	"errors"
	"net"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// Error is a failed request to the ECR API.
type Error struct {
	Action   string // the IAM action, such as ecr:CreateRepository
	Resource string // the ARN of the repository, or "*"
	Class    error  // one of the classes in package registry, or nil
	Fix      string // the remedy, or ""
	Cause    error
}

func (e *Error) Error() string {
	s := e.Action + " on " + e.Resource + ": "
	if e.Class != nil {
		s += e.Class.Error() + ": "
	}
	var api smithy.APIError
	if errors.As(e.Cause, &api) {
		s += api.ErrorCode() + ": " + api.ErrorMessage()
	} else {
		s += e.Cause.Error()
	}
	if e.Fix != "" {
		s += ": " + e.Fix
	}
	return s
}

// Unwrap returns the class and the cause.
func (e *Error) Unwrap() []error { return []error{e.Class, e.Cause} }

// ConfigurationError is a fault in the configuration of AWS on this machine, such as a
// profile that does not exist.
type ConfigurationError struct{ Err error }

func (e *ConfigurationError) Error() string {
	return "reading the AWS configuration: " + e.Err.Error() + ": check ~/.aws/config, AWS_PROFILE and --profile"
}

// Unwrap returns the error of the SDK.
func (e *ConfigurationError) Unwrap() error { return e.Err }

// Error codes of the API with a special meaning.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
const (
	limitExceeded     = "LimitExceededException"
	invalidParameter  = "InvalidParameterException"
	alreadyExists     = "RepositoryAlreadyExistsException"
	repositoryMissing = "RepositoryNotFoundException"
)

var classes = map[string]error{
	"AccessDeniedException":                registry.ErrDenied,
	"AccessDenied":                         registry.ErrDenied,
	"UnauthorizedOperation":                registry.ErrDenied,
	"BlockedByOrganizationPolicyException": registry.ErrDenied,

	"ExpiredTokenException":       registry.ErrAuth,
	"ExpiredToken":                registry.ErrAuth,
	"UnrecognizedClientException": registry.ErrAuth,
	"InvalidClientTokenId":        registry.ErrAuth,
	"InvalidSignatureException":   registry.ErrAuth,
	"SignatureDoesNotMatch":       registry.ErrAuth,
	"IncompleteSignature":         registry.ErrAuth,
	"MissingAuthenticationToken":  registry.ErrAuth,
	"OptInRequired":               registry.ErrAuth,
	repositoryMissing:             registry.ErrNotFound,
	"ServerException":             registry.ErrTransient,
	"InternalFailure":             registry.ErrTransient,
	"ServiceUnavailable":          registry.ErrTransient,
	"ServiceUnavailableException": registry.ErrTransient,
}

// wrapError adds the action, its resource, the class and a remedy; nil stays nil. An
// empty path stands for the whole registry.
func (r *Registry) wrapError(err error, action, path string) error {
	if err == nil {
		return nil
	}
	e := &Error{Action: "ecr:" + action, Resource: "*", Class: classify(err), Cause: err}
	if path != "" {
		e.Resource = r.arn(path)
	}
	switch e.Class {
	case registry.ErrDenied:
		e.Fix = "the role needs " + e.Action + " on " + e.Resource
	case registry.ErrAuth:
		e.Fix = "check `aws sts get-caller-identity`, AWS_PROFILE and --profile"
		if remedy := SessionRemedy(err); remedy != "" {
			e.Fix = remedy
		}
	case registry.ErrThrottled:
		e.Fix = "try again later, or request a higher quota from AWS"
	case registry.ErrTransient:
		e.Fix = "check that the ECR API in " + r.host.Region + " is reachable: a VPC without internet access requires the endpoint ecr.api"
	}
	if codeOf(err) == limitExceeded {
		e.Fix = "delete what is not needed, or request a higher quota from AWS"
	}
	return e
}

func classify(err error) error {
	var credentials *credentialsError
	var network net.Error
	code := codeOf(err)
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &credentials):
		return registry.ErrAuth
	case throttled && code != limitExceeded:
		return registry.ErrThrottled
	case code != "":
		return classes[code]
	case errors.As(err, &network):
		return registry.ErrTransient
	}
	return nil
}

// SessionRemedy returns the remedy if a request to any service of AWS failed because the
// session of its credentials has ended, and "" otherwise. The SDK replaces sessions that it
// has opened itself, so these credentials are those of a login or of an environment.
func SessionRemedy(err error) string {
	if code := codeOf(err); code != "ExpiredToken" && code != "ExpiredTokenException" {
		return ""
	}
	return "the AWS session has ended: log in again, with a longer session if it is shorter than a run, and run the command again; it resumes where it stopped"
}

// codeOf returns the code of an AWS API error, or "" for any other error.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// taggedCredentials distinguishes errors of the credentials provider from all
// others.
type taggedCredentials struct{ aws.CredentialsProvider }

func (t taggedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := t.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = &credentialsError{err}
	}
	return c, err
}

type credentialsError struct{ error }

func (e *credentialsError) Unwrap() error { return e.error }
