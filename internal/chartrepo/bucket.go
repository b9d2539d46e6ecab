// SPDX-License-Identifier: Apache-2.0

package chartrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// maxObject bounds what is read of an object. Helm takes no larger archive, and an index
// of 10,000 versions has 20 MiB.
const maxObject = 100 << 20

// bucketName is a name of S3, and prefixName what a URL has without escapes.
var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixName = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)
)

// bucket is a repository below a prefix of a bucket of S3. There is no lock: objects are
// created, and the index is replaced if it is still the one that was read.
type bucket struct {
	objects *s3bucket.Bucket
	prefix  string // "" for the bucket itself
	etag    string // of the index that was read, "" if there was none
}

// newBucket returns the place s3://BUCKET/PREFIX.
func newBucket(name, profile string) (*bucket, error) {
	host, prefix, _ := strings.Cut(strings.TrimPrefix(name, s3bucket.Scheme), "/")
	prefix = strings.TrimSuffix(prefix, "/")
	if !bucketName.MatchString(host) || prefix != "" && (!fs.ValidPath(prefix) || prefix == "." || !prefixName.MatchString(prefix)) {
		return nil, fmt.Errorf("%s: name the place as s3://BUCKET or s3://BUCKET/PREFIX, with letters, digits and . _ - / in the prefix", name)
	}
	return &bucket{objects: s3bucket.New(host, profile), prefix: prefix}, nil
}

func (b *bucket) String() string { return strings.TrimSuffix(b.objects.Object(b.prefix), "/") }

func (b *bucket) key(name string) string { return path.Join(b.prefix, name) }

func (b *bucket) at(name string) string { return b.objects.Object(b.key(name)) }

func (b *bucket) url() string { return b.objects.URL(b.prefix) }

func (b *bucket) check(ctx context.Context) error { return b.objects.Check(ctx, b.key("*")) }

func (b *bucket) lock(context.Context, func(string, ...any)) (unlock func() error, err error) {
	return func() error { return nil }, nil
}

func (b *bucket) readIndex(ctx context.Context) (text []byte, err error) {
	text, b.etag, err = b.objects.Read(ctx, b.key(indexFile), maxObject)
	return text, err
}

// addArchive creates an archive, and never replaces one: it may be in use.
func (b *bucket) addArchive(ctx context.Context, name string, data []byte) error {
	has, _, err := b.objects.Read(ctx, b.key(name), maxObject)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = b.objects.Replace(ctx, b.key(name), "", "application/gzip", data); !errors.Is(err, s3bucket.ErrChanged) {
			return err
		}
		has, _, err = b.objects.Read(ctx, b.key(name), maxObject) // another run was faster
	}
	if err == nil && !bytes.Equal(has, data) {
		err = fmt.Errorf("%s: there is other content under this name already, with the digest %x, and the archive of the chart repository has %x; it was not replaced: use another prefix, or remove the object if nothing needs it",
			b.at(name), sha256.Sum256(has), sha256.Sum256(data))
	}
	return err
}

func (b *bucket) replaceIndex(ctx context.Context, data []byte) error {
	etag, err := b.objects.Replace(ctx, b.key(indexFile), b.etag, "application/yaml", data)
	if err == nil {
		b.etag = etag
	}
	return err
}
