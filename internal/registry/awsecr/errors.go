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

// Error is a failed request to ECR's API.
type Error struct {
	Action   string // the IAM action, such as ecr:CreateRepository
	Resource string // the ARN that it is about, or "*"
	Class    error  // one of package registry, or nil
	Fix      string // what to do about it, or ""
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
		s += "; " + e.Fix
	}
	return s
}

// Unwrap gives the class, and what it was made of.
func (e *Error) Unwrap() []error { return []error{e.Class, e.Cause} }

// Codes of the API that are told apart.
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

// explain says what failed and classifies it; nil stays nil. An empty path
// stands for the registry as a whole.
func (r *Registry) explain(err error, action, path string) error {
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
	case registry.ErrThrottled:
		e.Fix = "try again later, or ask AWS for a higher quota"
	case registry.ErrTransient:
		e.Fix = "check that ECR's API in " + r.host.Region + " can be reached from here: a VPC without internet needs the endpoint ecr.api"
	}
	return e
}

func classify(err error) error {
	var noCredentials *credentialsError
	var network net.Error
	c := code(err)
	_, throttled := retry.DefaultThrottleErrorCodes[c]
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &noCredentials):
		return registry.ErrAuth
	case throttled && c != limitExceeded:
		return registry.ErrThrottled
	case c != "":
		return classes[c]
	case errors.As(err, &network):
		return registry.ErrTransient
	}
	return nil
}

// code is what AWS calls an error, or "" for one that is not AWS's.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// marked tells errors of finding credentials from all others.
type marked struct{ aws.CredentialsProvider }

func (m marked) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := m.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = &credentialsError{err}
	}
	return c, err
}

type credentialsError struct{ error }

func (e *credentialsError) Unwrap() error { return e.error }
