// SPDX-License-Identifier: Apache-2.0

package lockstore

import (
	"context"
	"errors"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// maxObject bounds what is read of an object.
const maxObject = 16 << 20

// object is a lock in an object of S3. The bucket should keep versions.
type object struct {
	bucket *s3bucket.Bucket
	key    string
	etag   string // of the object that was read, "" if there was none
}

func (o *object) String() string { return o.bucket.Object(o.key) }

func (o *object) Read(ctx context.Context) (*lock.Lock, error) {
	text, etag, err := o.bucket.Read(ctx, o.key, maxObject)
	o.etag = etag
	if err != nil {
		return nil, err
	}
	return lock.Parse(o.String(), text)
}

func (o *object) CheckWritable(ctx context.Context) error { return o.bucket.Check(ctx, o.key) }

func (o *object) Write(ctx context.Context, l *lock.Lock) error {
	return write(ctx, o, l, func(text []byte) error {
		etag, err := o.bucket.Replace(ctx, o.key, o.etag, "application/yaml", text)
		switch {
		case errors.Is(err, s3bucket.ErrChanged):
			return errChanged
		case err != nil:
			return err
		}
		o.etag = etag
		return nil
	})
}
