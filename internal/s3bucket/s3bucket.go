// SPDX-License-Identifier: Apache-2.0

// Package s3bucket reads and writes objects in a bucket of S3. What a run replaces is the
// version that it has read, so that two runs at the same time do not undo each other.
package s3bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/castai/privatelink-webhook/internal/awssdk"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
)

// Scheme begins the name of an object, s3://BUCKET/KEY.
const Scheme = "s3://"

// ErrChanged is the result of an attempt to replace an object that another run has replaced
// or created since it was read.
var ErrChanged = errors.New("it has changed meanwhile")

// maxAttempts bounds how often a write is tried again while others are under way, and
// maxReads how often an object is read whose content breaks off.
const (
	maxAttempts = 10
	maxReads    = 3
)

// Bucket is a bucket of S3. It is used by one run, and not concurrently.
type Bucket struct {
	name, profile string
	client        *s3.Client
}

// New returns a bucket. The profile is that of the AWS configuration, "" for the default.
// Nothing is read yet.
func New(name, profile string) *Bucket { return &Bucket{name: name, profile: profile} }

// NewWithClient returns a bucket with a client of its own.
func NewWithClient(name string, c *s3.Client) *Bucket { return &Bucket{name: name, client: c} }

// Object returns the name of an object, s3://BUCKET/KEY.
func (b *Bucket) Object(key string) string { return Scheme + b.name + "/" + key }

// URL returns the address of an object by HTTPS, in the region of the client. It is for after
// a request.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
func (b *Bucket) URL(key string) string {
	region, domain := b.client.Options().Region, "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	return "https://" + b.name + ".s3." + region + "." + domain + "/" + key
}

func (b *Bucket) connect(ctx context.Context) error {
	if b.client != nil {
		return nil
	}
	c, err := awssdk.Load(ctx, config.WithSharedConfigProfile(b.profile))
	if err != nil {
		return err
	}
	if c.Region == "" {
		return errors.New("no AWS region is configured: set AWS_REGION to that of the bucket")
	}
	b.client = s3.NewFromConfig(c, func(options *s3.Options) {
		options.DisableLogOutputChecksumValidationSkipped = true // the message is not for users
		options.UsePathStyle = options.BaseEndpoint != nil       // such as AWS_ENDPOINT_URL
	})
	return nil
}

// Check asks whether the bucket can be listed, so that a run can fail before it does
// anything: S3 has no dry run. key is of an object that the run will write.
func (b *Bucket) Check(ctx context.Context, key string) error {
	err := b.connect(ctx)
	if err == nil {
		_, err = b.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.name})
	}
	if err != nil {
		return b.wrapError(key, fmt.Errorf("the bucket: %w", err))
	}
	return nil
}

// Read returns an object of at most a number of bytes, and its entity tag for Replace. The
// error is fs.ErrNotExist if there is none.
func (b *Bucket) Read(ctx context.Context, key string, limit int64) (data []byte, etag string, err error) {
	if err := b.connect(ctx); err != nil {
		return nil, "", b.wrapError(key, err)
	}
	for range maxReads {
		data, etag, err = b.get(ctx, key, limit)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
	}
	switch {
	case isMissing(err):
		return nil, "", fmt.Errorf("%s: %w", b.Object(key), fs.ErrNotExist)
	case err != nil:
		return nil, "", b.wrapError(key, err)
	case int64(len(data)) > limit:
		return nil, "", fmt.Errorf("%s: it has more than %d MiB, which is too much for what should be there: use another name", b.Object(key), limit>>20)
	}
	return data, etag, nil
}

// get reads an object once, and at most one byte more than the limit.
func (b *Bucket) get(ctx context.Context, key string, limit int64) (data []byte, etag string, err error) {
	got, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return nil, "", err
	}
	defer got.Body.Close()
	data, err = io.ReadAll(io.LimitReader(got.Body, limit+1))
	return data, aws.ToString(got.ETag), err
}

// Modified returns when an object was written.
func (b *Bucket) Modified(ctx context.Context, key string) (time.Time, error) {
	if err := b.connect(ctx); err != nil {
		return time.Time{}, b.wrapError(key, err)
	}
	head, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return time.Time{}, b.wrapError(key, err)
	}
	return aws.ToTime(head.LastModified), nil
}

// Replace writes an object if its entity tag is still that of the last read, or, with "",
// if there is none. Otherwise it returns ErrChanged. It returns the new entity tag.
//
// S3 answers 412 if the object was replaced, and 409 while another write is under way: that
// one may fail, so that the version may still be there.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
func (b *Bucket) Replace(ctx context.Context, key, etag, contentType string, data []byte) (string, error) {
	if err := b.connect(ctx); err != nil {
		return "", b.wrapError(key, err)
	}
	for attempt := 1; ; attempt++ {
		in := &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: bytes.NewReader(data), ContentType: &contentType}
		if etag == "" {
			in.IfNoneMatch = aws.String("*")
		} else {
			in.IfMatch = &etag
		}
		put, err := b.client.PutObject(ctx, in)
		if err == nil {
			return aws.ToString(put.ETag), nil
		}
		switch status := statusOf(err); {
		case status == http.StatusPreconditionFailed, etag != "" && isMissing(err):
			return "", ErrChanged
		case status != http.StatusConflict || attempt == maxAttempts:
			return "", b.wrapError(key, err)
		}
		if err := registry.Sleep(ctx, registry.Backoff(attempt)); err != nil {
			return "", err
		}
	}
}

// isMissing reports whether S3 has no such object. A bucket that is missing has another code.
func isMissing(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == "NoSuchKey"
}

// statusOf returns the status of the response, 0 without one.
func statusOf(err error) int {
	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return r.HTTPStatusCode()
	}
	return 0
}

// wrapError adds the name of the object and a remedy.
func (b *Bucket) wrapError(key string, err error) error {
	remedy := awsecr.SessionRemedy(err)
	if r, ok := errors.AsType[*awshttp.ResponseError](err); remedy == "" && ok {
		region := r.HTTPResponse().Header.Get("X-Amz-Bucket-Region")
		switch r.HTTPStatusCode() {
		case http.StatusMovedPermanently:
			remedy = "the bucket is in another region: set AWS_REGION"
			if region != "" {
				remedy += "=" + region
			}
		case http.StatusForbidden:
			remedy = fmt.Sprintf("the role needs s3:ListBucket on %s, and s3:GetObject and s3:PutObject on %[1]s/%s", b.name, key)
		}
	}
	if remedy == "" {
		return fmt.Errorf("%s: %w", b.Object(key), err)
	}
	return fmt.Errorf("%s: %w: %s", b.Object(key), err, remedy)
}
