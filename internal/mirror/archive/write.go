// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// WriteOptions are the options of Write. File is required.
type WriteOptions struct {
	// File is the name of the archive.
	File string
	// Split is the maximum size of a file in bytes; 0 is unlimited. If it is set, the
	// archive is FILE.000, FILE.001 and so on.
	Split int64
	// Since is the lock of images that the target has. Their blobs are left out. If it
	// is nil, the archive is full.
	Since *lock.Lock
	// Parallel is the number of concurrent fetches; default 16.
	Parallel int
	// Progress counts bytes and images. May be nil.
	Progress *mirror.Progress
}

// Summary is the result of Write.
type Summary struct {
	Parts     []Part // in order
	Size      int64  // of all parts
	Images    int
	Manifests int
	Blobs     int // in the archive
	// Fetched, Kept and Assumed are the bytes of blobs that were read from the source,
	// that an interrupted export had fetched, and that are not in the archive because
	// the target is expected to have them.
	Fetched, Kept, Assumed int64
	// Unread are the errors of images of the older lock that could not be read. Their
	// blobs were not left out.
	Unread []string
}

// Part is one file of an archive.
type Part struct {
	Name   string
	Size   int64
	Digest digest.Digest
}

// Write writes an archive, and FILE.sha256 with the digest of each part for
// sha256sum -c. Until the archive is complete its name is FILE.partial, which remains
// after an error or a crash. The next Write of the same content keeps the blobs that
// have the right digest and fetches the others.
//
// It fails if FILE exists, and before it fetches anything if the disk has too little
// space. The error names all blobs that cannot be read.
func Write(ctx context.Context, c *mirror.Content, from mirror.Source, o WriteOptions) (Summary, error) {
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.Progress == nil {
		o.Progress = &mirror.Progress{}
	}
	if o.File == "" {
		return Summary{}, errors.New("the name of the archive is missing")
	}
	o.File = filepath.Clean(o.File)
	if partPattern.MatchString(o.File) {
		return Summary{}, fmt.Errorf("%s is the name of a part: leave the number out", o.File)
	}
	assumed, unread, err := findAssumed(ctx, from, c, o.Since, o.Parallel)
	if err != nil {
		return Summary{}, err
	}
	l, err := planLayout(c, assumed)
	if err != nil {
		return Summary{}, err
	}
	f, err := openPending(o.File, l.size, o.Split)
	if err != nil {
		return Summary{}, err
	}
	w := &writer{layout: l, file: f, from: from, progress: o.Progress, parallel: o.Parallel}
	w.progress.Images.Store(int64(len(c.Lock.Images)))
	s := Summary{Size: l.size, Images: len(c.Lock.Images), Manifests: len(c.Manifests), Unread: unread}
	if err = w.writeAll(ctx); err == nil {
		s.Parts, err = f.finish(ctx)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return Summary{}, err
	}
	w.progress.ImagesDone.Store(int64(len(c.Lock.Images)))
	s.Blobs, s.Fetched, s.Kept = len(w.blobs()), w.fetched.Load(), w.kept.Load()
	if assumed != nil {
		for _, b := range assumed.Blobs {
			s.Assumed += b.Size
		}
	}
	return s, nil
}
