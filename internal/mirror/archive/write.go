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

// WriteOptions say how an archive is written. File is required.
type WriteOptions struct {
	// File is the name of the archive.
	File string
	// Split is the most that one file may have, in bytes; 0 for no bound. Then the
	// archive is FILE.000, FILE.001 and so on.
	Split int64
	// Since is the lock of what the target has already. Blobs of its images are left
	// out. Nil makes a full archive.
	Since *lock.Lock
	// Parallel is how many blobs are fetched at once; default 16.
	Parallel int
	// Progress counts bytes and images. May be nil.
	Progress *mirror.Progress
}

// Summary says what was written.
type Summary struct {
	Parts     []Part // in their order
	Size      int64  // of all parts
	Images    int
	Manifests int
	Blobs     int // in the archive
	// Fetched were read from the source; Kept were left by an interrupted export;
	// Assumed are not in the archive, because the target should have them. All are
	// bytes of blobs.
	Fetched, Kept, Assumed int64
	// Unread are images of the older lock that the source did not give. Their blobs
	// were not left out.
	Unread []string
}

// Part is one file of an archive.
type Part struct {
	Name   string
	Size   int64
	Digest digest.Digest
}

// Write writes an archive, and FILE.sha256 with the digest of each part for
// sha256sum -c. FILE is complete or does not exist: until all is there its name
// is FILE.partial. That stays after an error or a crash, and the next Write of
// the same content fetches only what it lacks; what it has is believed by its
// digest alone.
//
// Errors: FILE exists; the disk has too little room, before anything is fetched;
// blobs that cannot be read, all of them; what Source returns.
func Write(ctx context.Context, c *mirror.Content, from mirror.Source, o WriteOptions) (Summary, error) {
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.Progress == nil {
		o.Progress = &mirror.Progress{}
	}
	if o.File == "" {
		return Summary{}, errors.New("an archive needs the name of a file")
	}
	o.File = filepath.Clean(o.File)
	if numbered.MatchString(o.File) {
		return Summary{}, fmt.Errorf("%s: a name that ends like this is that of a part; leave the number out", o.File)
	}
	assumed, unread, err := assume(ctx, from, c, o.Since, o.Parallel)
	if err != nil {
		return Summary{}, err
	}
	l, err := plan(c, assumed)
	if err != nil {
		return Summary{}, err
	}
	f, err := begin(o.File, l.size, o.Split)
	if err != nil {
		return Summary{}, err
	}
	w := &writer{layout: l, file: f, from: from, progress: o.Progress, parallel: o.Parallel}
	w.progress.Images.Store(int64(len(c.Lock.Images)))
	s := Summary{Size: l.size, Images: len(c.Lock.Images), Manifests: len(c.Manifests), Unread: unread}
	if err = w.all(ctx); err == nil {
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
