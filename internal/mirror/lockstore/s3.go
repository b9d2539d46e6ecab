// SPDX-License-Identifier: Apache-2.0

package lockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
)

// maxObject bounds what is read of an object.
const maxObject = 16 << 20

// object is a lock in an object of S3. The bucket should keep versions.
type object struct {
	bucket, key, profile string
	client               *s3.Client
	etag                 string // of the object that was read, "" if there was none
}

func (o *object) String() string { return s3Scheme + o.bucket + "/" + o.key }

func (o *object) connect(ctx context.Context) error {
	if o.client != nil {
		return nil
	}
	c, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(o.profile))
	if err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	o.client = s3.NewFromConfig(c, func(options *s3.Options) {
		options.DisableLogOutputChecksumValidationSkipped = true // the message is not for users
		options.UsePathStyle = options.BaseEndpoint != nil       // such as AWS_ENDPOINT_URL
	})
	return nil
}

func (o *object) Read(ctx context.Context) (*lock.Lock, error) {
	if err := o.connect(ctx); err != nil {
		return nil, err
	}
	got, err := o.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.bucket, Key: &o.key})
	if _, missing := errors.AsType[*types.NoSuchKey](err); missing {
		o.etag = ""
		return nil, fmt.Errorf("%s: %w", o, fs.ErrNotExist)
	}
	if err != nil {
		return nil, o.wrapError(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, maxObject+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o, err)
	}
	if len(text) > maxObject {
		return nil, fmt.Errorf("%s: it has more than %d MiB, and is not a lock: name another object", o, maxObject>>20)
	}
	o.etag = aws.ToString(got.ETag)
	return lock.Parse(o.String(), text)
}

// wrapError adds the name of the lock and a remedy.
func (o *object) wrapError(err error) error {
	remedy := awsecr.SessionRemedy(err)
	if r, ok := errors.AsType[*awshttp.ResponseError](err); remedy == "" && ok && r.HTTPStatusCode() == http.StatusForbidden {
		remedy = fmt.Sprintf("the role needs s3:ListBucket on %s, and s3:GetObject and s3:PutObject on %[1]s/%s", o.bucket, o.key)
	}
	if remedy == "" {
		return fmt.Errorf("%s: %w", o, err)
	}
	return fmt.Errorf("%s: %w; %s", o, err, remedy)
}

// CheckWritable asks for the bucket alone: S3 has no dry run.
func (o *object) CheckWritable(ctx context.Context) error {
	if err := o.connect(ctx); err != nil {
		return err
	}
	if _, err := o.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &o.bucket}); err != nil {
		return o.wrapError(fmt.Errorf("the bucket: %w", err))
	}
	return nil
}

// Write makes use of conditional writes:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
func (o *object) Write(ctx context.Context, l *lock.Lock) error {
	if err := o.connect(ctx); err != nil {
		return err
	}
	return write(ctx, o, l, func(text []byte) error { return o.put(ctx, text) })
}

// put replaces the version that was read last, or returns errChanged. S3 answers 412 if it
// was replaced, and 409 while another write is under way: that one may fail, so that the
// version may still be there.
func (o *object) put(ctx context.Context, text []byte) error {
	for attempt := 1; ; attempt++ {
		in := &s3.PutObjectInput{Bucket: &o.bucket, Key: &o.key, Body: bytes.NewReader(text), ContentType: aws.String("application/yaml")}
		if o.etag == "" {
			in.IfNoneMatch = aws.String("*")
		} else {
			in.IfMatch = &o.etag
		}
		put, err := o.client.PutObject(ctx, in)
		if err == nil {
			o.etag = aws.ToString(put.ETag)
			return nil
		}
		status := 0
		if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
			status = r.HTTPStatusCode()
		}
		switch {
		case status == http.StatusPreconditionFailed:
			return errChanged
		case status != http.StatusConflict || attempt == maxAttempts:
			return o.wrapError(err)
		}
		if err := registry.Sleep(ctx, registry.Backoff(attempt)); err != nil {
			return err
		}
	}
}
