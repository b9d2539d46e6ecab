// SPDX-License-Identifier: Apache-2.0

// Package awsapi has what the checks that use AWS share: the configuration of the
// SDK, findings for failed requests, and the nodes of a cluster. It only reads.
package awsapi

import (
	"context"
	"errors"

	"github.com/aws/smithy-go"
)

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

// Code returns the error code of AWS, or "" if err is not an error of its API.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
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
