// SPDX-License-Identifier: Apache-2.0

// Package lockstore keeps a lock where runs on different machines find it: in a file, in
// a ConfigMap, or in an object of S3.
//
// Two runs at the same time lose no image: the second one to write finds that the lock has
// changed since it was read, by its resource version or entity tag, and writes both.
package lockstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// A Store keeps one lock. It is used by one run, and not concurrently.
type Store interface {
	// Read returns the lock, or fs.ErrNotExist if there is none yet.
	Read(ctx context.Context) (*lock.Lock, error)
	// CheckWritable returns an error if Write cannot succeed, so that a run can fail before
	// it copies anything.
	CheckWritable(ctx context.Context) error
	// Write replaces the lock that Read returned. If another run has replaced it
	// meanwhile, the images that only the other lock has are added to l. It fails, and
	// leaves the lock as it was, if l lists no image or does not fit.
	Write(ctx context.Context, l *lock.Lock) error
	// String is the name that was given to Open.
	String() string
}

// Options are for stores outside of the machine.
type Options struct {
	Kubeconfig kubeconfig.Options
	Profile    string // of AWS
}

const configMapScheme = "configmap://"

// Open returns the store of a name: configmap://NAMESPACE/NAME, s3://BUCKET/KEY, or else a
// file. Nothing is read yet.
func Open(name string, o Options) (Store, error) {
	switch scheme, rest, found := strings.Cut(name, "://"); {
	case !found:
		return File(name), nil
	case scheme+"://" == configMapScheme:
		namespace, object, ok := strings.Cut(rest, "/")
		if !ok || namespace == "" || object == "" || strings.Contains(object, "/") {
			return nil, fmt.Errorf("%s: name the ConfigMap as configmap://NAMESPACE/NAME", name)
		}
		return &configMap{namespace: namespace, name: object, kubeconfig: o.Kubeconfig}, nil
	case scheme+"://" == s3bucket.Scheme:
		bucket, key, ok := strings.Cut(rest, "/")
		if !ok || bucket == "" || key == "" {
			return nil, fmt.Errorf("%s: name the object as s3://BUCKET/KEY", name)
		}
		return &object{bucket: s3bucket.New(bucket, o.Profile), key: key}, nil
	default:
		return nil, fmt.Errorf("%s: a lock is kept in a file, in configmap://NAMESPACE/NAME or in s3://BUCKET/KEY", name)
	}
}

// Written returns when a run last wrote the lock. Each run writes an object of S3, also
// without news. Of a file and of a ConfigMap the time is not known, and zero.
func Written(ctx context.Context, s Store) (time.Time, error) {
	if o, ok := s.(*object); ok {
		return o.bucket.Modified(ctx, o.key)
	}
	return time.Time{}, nil
}

// File is a lock in a file. A run that writes it replaces what is there.
type File string

func (f File) String() string { return string(f) }

// Read implements Store.
func (f File) Read(context.Context) (*lock.Lock, error) { return lock.Read(string(f)) }

// CheckWritable implements Store.
func (f File) CheckWritable(context.Context) error { return lock.CheckWritable(string(f)) }

// Write implements Store.
func (f File) Write(_ context.Context, l *lock.Lock) error { return l.Write(string(f)) }

// errChanged is the result of an attempt to replace a lock that another run has replaced.
var errChanged = errors.New("it has changed meanwhile")

// maxAttempts bounds how often a write is tried again. Runs take minutes, and a write
// milliseconds.
const maxAttempts = 10

// write writes a lock until no other run comes between. try replaces the version that was
// read last.
func write(ctx context.Context, s Store, l *lock.Lock, try func(text []byte) error) error {
	for range maxAttempts {
		text, err := l.Marshal()
		if err != nil {
			return err
		}
		if _, err := lock.Parse(s.String(), text); err != nil {
			return fmt.Errorf("%w; it was not written", err)
		}
		if err := try(text); !errors.Is(err, errChanged) {
			return err
		}
		theirs, err := s.Read(ctx)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if theirs != nil && theirs.Registry != l.Registry {
			return fmt.Errorf("%s: another run has written a lock for %s, and this is one for %s: use a place of its own for each registry", s, theirs.Registry, l.Registry)
		}
		l.Add(theirs)
	}
	return fmt.Errorf("%s: other runs replaced it %d times: see which schedules write it", s, maxAttempts)
}
