// SPDX-License-Identifier: Apache-2.0

// Package awssdk loads the configuration of the AWS SDK so that clients neither close a
// connection whose response is still being read, nor fail if one ends within it.
package awssdk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Load loads the configuration from the environment and the shared files, as
// config.LoadDefaultConfig does, and adds plainBody and retryInterrupted.
func Load(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx, append(options, config.WithAPIOptions([]func(*middleware.Stack) error{addPlainBody, addRetryInterrupted}))...)
}

// addPlainBody adds the middleware plainBody to the requests of a client.
func addPlainBody(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("PlainBody", plainBody), middleware.After)
}

// plainBody hides the method WriteTo of a request's body. The SDK closes the body as
// soon as the response begins. If net/http has sent the body, but has not yet asked
// for its end, a closed body with WriteTo returns io.EOF as an error (the method
// Read returns it as the end). net/http then closes the connection while the
// response is read: the SDK logs a warning to stderr, and repeats a request that has
// succeeded.
// https://github.com/aws/smithy-go/blob/v1.28.8/transport/http/internal/io/safe.go
func plainBody(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
	request, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return middleware.BuildOutput{}, middleware.Metadata{}, fmt.Errorf("the request is a %T, and not one of HTTP", in.Request)
	}
	if body, ok := request.GetStream().(io.ReadSeeker); ok {
		plain, err := request.SetStream(struct{ io.ReadSeeker }{body})
		if err != nil {
			return middleware.BuildOutput{}, middleware.Metadata{}, err
		}
		in.Request = plain
	}
	return next.HandleBuild(ctx, in)
}

// addRetryInterrupted adds the middleware retryInterrupted to the requests of a client,
// around what reads the response.
func addRetryInterrupted(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RetryInterrupted", retryInterrupted), middleware.Before)
}

// retryInterrupted makes a response retryable that ends before its length. The SDK
// retries if the connection is reset while a response is read, but not if a proxy or a
// firewall closes it in order.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
func retryInterrupted(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = interruptedError{err}
	}
	return out, metadata, err
}

// interruptedError is the error of a response that ended early.
type interruptedError struct{ error }

// RetryableError is what the SDK asks an error.
func (interruptedError) RetryableError() bool { return true }

func (e interruptedError) Unwrap() error { return e.error }
