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

// pending is an archive that is being written. Its files are named FILE.partial until
// it is complete.
type pending struct {
	parts
	working []string // the names until then
	resumed bool     // an interrupted export left content
}

var errLocked = errors.New("another export is writing the file")

// openPending creates the files of an archive, or opens those of an interrupted
// export.
func openPending(stem string, total, split int64) (*pending, error) {
	names, err := partNames(stem, total, split)
	if err != nil {
		return nil, err
	}
	if split <= 0 {
		split = total
	}
	p := &pending{parts: parts{stem: stem, names: names, partLimit: split, size: total}}
	for _, n := range names {
		p.working = append(p.working, n+partialSuffix)
	}
	if err := p.claimNames(); err != nil {
		return nil, err
	}
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// claimNames gives the files of an interrupted export their working names, and removes
// those that this export does not need. Other files with the names of the archive are
// an error.
func (p *pending) claimNames() error {
	others, err := relatedFiles(p.stem)
	if err != nil {
		return err
	}
	if err := checkUnlocked(others); err != nil {
		return err
	}
	// finish renames the first part last. Before that, other parts with their final
	// names belong to an export that was interrupted while renaming.
	renaming := exists(partName(p.stem, 0)+partialSuffix) && !exists(partName(p.stem, 0))
	for _, name := range others {
		bare, isPartial := strings.CutSuffix(name, partialSuffix)
		switch {
		case isPartial && slices.Contains(p.names, bare):
		case isPartial:
			err = os.Remove(name) // another --split
		case renaming && name != p.stem && slices.Contains(p.names, name):
			err = os.Rename(name, name+partialSuffix)
		case renaming && name != p.stem:
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

// relatedFiles lists the files of an archive, by their names.
func relatedFiles(stem string) (all []string, err error) {
	files, err := os.ReadDir(filepath.Dir(stem))
	if err != nil {
		return nil, fmt.Errorf("the directory of %s: %w", stem, err)
	}
	for _, f := range files {
		name := filepath.Join(filepath.Dir(stem), f.Name())
		bare := strings.TrimSuffix(name, partialSuffix)
		if m := partPattern.FindStringSubmatch(bare); m != nil {
			bare = m[1]
		}
		if bare == filepath.Clean(stem) {
			all = append(all, name)
		}
	}
	return all, nil
}

// checkUnlocked returns an error if another export is writing one of the files.
func checkUnlocked(names []string) error {
	for _, name := range names {
		if !strings.HasSuffix(name, partialSuffix) {
			continue
		}
		f, err := openLocked(name, os.O_RDWR)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil { // Windows does not remove or rename open files
			return err
		}
	}
	return nil
}

func (p *pending) open() error {
	var existing int64
	for i, name := range p.working {
		f, err := openLocked(name, os.O_RDWR|os.O_CREATE)
		if err != nil {
			return err
		}
		p.files = append(p.files, f)
		info, err := f.Stat()
		if err != nil {
			return err
		}
		p.resumed = p.resumed || info.Size() > 0
		if err := f.Truncate(p.partSize(i)); err != nil {
			if isFileTooLarge(err) {
				return fmt.Errorf("%w: the file system does not support files of %s: use smaller parts with --split (4095M for FAT32)", err, formatSize(p.partSize(i)))
			}
			return err
		}
		existing += allocatedBytes(f)
	}
	if left, known := freeSpace(filepath.Dir(p.stem)); known && p.size-existing > left {
		return fmt.Errorf("%s needs %s, of which %s exist, and its disk has %s left: free %s more, or write to another disk",
			p.stem, formatSize(p.size), formatSize(existing), formatSize(left), formatSize(p.size-existing-left))
	}
	return nil
}

// openLocked opens a file of an export for writing, and locks it against other exports.
func openLocked(name string, flags int) (*os.File, error) {
	f, err := openOwn(name, flags)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: wait until it ends, or write to another file", name, err), f.Close())
	}
	return f, nil
}

// openOwn opens a file of an export for writing. In a folder that others can write to,
// a link of that name would lead to another file, which would be overwritten: links and
// anything else but regular files are errors.
func openOwn(name string, flags int) (*os.File, error) {
	errNotOwn := fmt.Errorf("%s is not a file of an interrupted export: remove it, or write to another file", name)
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, errNotOwn
	}
	f, err := os.OpenFile(name, flags|noFollow, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular() || hasOtherNames(info):
		err = errNotOwn
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// finish writes the checksums and gives the files their final names, after their
// content has been synced to the disk.
func (p *pending) finish(ctx context.Context) ([]Part, error) {
	done := make([]Part, len(p.files))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(4)
	for i, f := range p.files {
		all.Go(func() error {
			d, err := sum(ctx, f)
			done[i] = Part{Name: p.names[i], Size: p.partSize(i), Digest: d}
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
	if err := replace(p.stem+sumsSuffix, list.String()); err != nil {
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
	syncDir(filepath.Dir(p.stem))
	return done, nil
}

// sum returns the digest of a file.
func sum(ctx context.Context, f *os.File) (digest.Digest, error) {
	buffer := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buffer)
	d := digest.SHA256.Digester()
	for off := int64(0); ; {
		n, err := f.ReadAt(buffer[:], off)
		off += int64(n)
		_, _ = d.Hash().Write(buffer[:n]) // a hash does not fail
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

// replace writes a file atomically.
func replace(name, text string) error {
	f, err := openOwn(name+partialSuffix, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(name+partialSuffix, name)
}

// syncDir makes renames durable, on systems that support it.
func syncDir(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync() // not supported by all file systems
		_ = f.Close()
	}
}
