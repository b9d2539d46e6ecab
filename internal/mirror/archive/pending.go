// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// pending is an archive that is being written. Until it is complete its files are
// called FILE.partial.
type pending struct {
	parts
	working []string // the names that the files have now
	resumed bool     // something was there
}

var errOwned = errors.New("another export writes it")

// begin opens the files of an archive, those of an interrupted export if there
// are any.
func begin(stem string, total, split int64) (*pending, error) {
	names, err := partNames(stem, total, split)
	if err != nil {
		return nil, err
	}
	if split <= 0 {
		split = total
	}
	p := &pending{parts: parts{stem: stem, names: names, each: split, size: total}}
	for _, n := range names {
		p.working = append(p.working, n+partial)
	}
	if err := p.take(); err != nil {
		return nil, err
	}
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// take makes way for the archive. Files that are not of an unfinished export are
// left alone, and that is an error.
func (p *pending) take() error {
	others, err := relatives(p.stem)
	if err != nil {
		return err
	}
	// The first part gets its name last. While it has not, the others that have
	// theirs are of an export that was interrupted between two names.
	between := exists(part(p.stem, 0)+partial) && !exists(part(p.stem, 0))
	for _, name := range others {
		bare, isPartial := strings.CutSuffix(name, partial)
		switch {
		case isPartial && slices.Contains(p.names, bare):
		case isPartial:
			err = os.Remove(name) // it was cut otherwise
		case between && name != p.stem && slices.Contains(p.names, name):
			err = os.Rename(name, name+partial)
		case between && name != p.stem:
			err = os.Remove(name)
		default:
			err = fmt.Errorf("%s exists: remove it, or write to another file", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relatives are the files that belong to an archive by their name.
func relatives(stem string) (all []string, err error) {
	files, err := os.ReadDir(filepath.Dir(stem))
	if err != nil {
		return nil, fmt.Errorf("the folder of %s: %w", stem, err)
	}
	for _, f := range files {
		name := filepath.Join(filepath.Dir(stem), f.Name())
		bare := strings.TrimSuffix(name, partial)
		if m := numbered.FindStringSubmatch(bare); m != nil {
			bare = m[1]
		}
		if bare == filepath.Clean(stem) {
			all = append(all, name)
		}
	}
	return all, nil
}

func (p *pending) open() error {
	var there int64
	for i, name := range p.working {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		p.files = append(p.files, f)
		if err := own(f); err != nil {
			return fmt.Errorf("%s: %w: wait for it, or write to another file", name, err)
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		p.resumed = p.resumed || info.Size() > 0
		if err := f.Truncate(p.extent(i)); err != nil {
			if tooLarge(err) {
				return fmt.Errorf("%w: the file system takes no file of %s; make smaller parts with --split (FAT32 takes 4095M)", err, size(p.extent(i)))
			}
			return err
		}
		there += allocated(f)
	}
	if left, known := free(filepath.Dir(p.stem)); known && p.size-there > left {
		return fmt.Errorf("%s needs %s, of which %s are there, and its disk has %s left: make room for %s more, or write to another disk",
			p.stem, size(p.size), size(there), size(left), size(p.size-there-left))
	}
	return nil
}

// finish gives the files their names, after all that is in them has reached the
// disk.
func (p *pending) finish(ctx context.Context) ([]Part, error) {
	done := make([]Part, len(p.files))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(4)
	for i, f := range p.files {
		all.Go(func() error {
			d, err := sum(ctx, f)
			done[i] = Part{Name: p.names[i], Size: p.extent(i), Digest: d}
			return errors.Join(err, f.Sync())
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	var list strings.Builder
	for _, d := range done {
		fmt.Fprintf(&list, "%s  %s\n", d.Digest.Encoded(), filepath.Base(d.Name))
	}
	if err := replace(p.stem+sums, list.String()); err != nil {
		return nil, err
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	for i, name := range slices.Backward(p.names) {
		if err := os.Rename(p.working[i], name); err != nil {
			return nil, err
		}
	}
	syncFolder(filepath.Dir(p.stem))
	return done, nil
}

// sum reads a file from its beginning.
func sum(ctx context.Context, f *os.File) (digest.Digest, error) {
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	d := digest.SHA256.Digester()
	for off := int64(0); ; {
		n, err := f.ReadAt(buffer[:], off)
		off += int64(n)
		_, _ = d.Hash().Write(buffer[:n]) // a hash takes all
		switch {
		case errors.Is(err, io.EOF):
			return d.Digest(), nil
		case err != nil:
			return "", err
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		}
	}
}

// replace writes a file in one step.
func replace(name, text string) error {
	f, err := os.OpenFile(name+partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+partial, name)
}

// syncFolder makes names last through a power failure, on systems that can.
func syncFolder(folder string) {
	if f, err := os.Open(folder); err == nil {
		_ = f.Sync() // some file systems do not
		_ = f.Close()
	}
}
