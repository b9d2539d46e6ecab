// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// maxParts is how many names FILE.000 leaves room for.
const maxParts = 1000

const (
	partial = ".partial" // ends the name of a file that is not complete
	sums    = ".sha256"  // ends the name of the list of digests
)

// parts is an archive as one row of bytes, in one file or several.
type parts struct {
	stem  string // FILE
	names []string
	files []*os.File
	each  int64 // the size of all but the last
	size  int64
}

var numbered = regexp.MustCompile(`^(.+)\.([0-9]{3})$`)

// partNames are FILE, or FILE.000 and so on.
func partNames(stem string, total, split int64) ([]string, error) {
	if split <= 0 {
		return []string{stem}, nil
	}
	count := (total + split - 1) / split
	if count > maxParts {
		return nil, fmt.Errorf("parts of %s make %d of %s, and there can be %d: choose larger ones", size(split), count, size(total), maxParts)
	}
	names := make([]string, count)
	for i := range names {
		names[i] = part(stem, i)
	}
	return names, nil
}

func part(stem string, i int) string { return fmt.Sprintf("%s.%03d", stem, i) }

// extent is the size that a part has.
func (p *parts) extent(i int) int64 { return min(p.each, p.size-int64(i)*p.each) }

// ReadAt implements io.ReaderAt.
func (p *parts) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if left := p.size - off; left < int64(len(b)) {
		if left <= 0 {
			return 0, io.EOF
		}
		b, err = b[:left], io.EOF
	}
	n, failed := p.span(b, off, (*os.File).ReadAt)
	if failed != nil {
		err = failed
	}
	return n, err
}

// WriteAt implements io.WriterAt.
func (p *parts) WriteAt(b []byte, off int64) (int, error) {
	return p.span(b, off, (*os.File).WriteAt)
}

// span does a piece for each part that the bytes lie in.
func (p *parts) span(b []byte, off int64, do func(*os.File, []byte, int64) (int, error)) (n int, err error) {
	for len(b) > 0 && err == nil {
		i := off / p.each
		within := off - i*p.each
		piece := b[:min(int64(len(b)), p.each-within)]
		var done int
		done, err = do(p.files[i], piece, within)
		if done == len(piece) && errors.Is(err, io.EOF) {
			err = nil
		}
		n, off, b = n+done, off+int64(done), b[done:]
	}
	return n, err
}

// at names a byte for people.
func (p *parts) at(off int64) string {
	if len(p.names) == 1 {
		return fmt.Sprintf("%s, byte %d", p.names[0], off)
	}
	i := min(off/p.each, int64(len(p.names)-1))
	return fmt.Sprintf("%s, byte %d", p.names[i], off-i*p.each)
}

// Close closes the files.
func (p *parts) Close() error {
	var errs []error
	for _, f := range p.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	p.files = nil
	return errors.Join(errs...)
}

// find finds the parts of an archive by the name of the whole or of a part.
func find(path string) (*parts, error) {
	path = filepath.Clean(path)
	stem := path
	if m := numbered.FindStringSubmatch(path); m != nil {
		stem = m[1]
	}
	names := []string{path}
	if _, err := os.Stat(path); stem != path || errors.Is(err, fs.ErrNotExist) {
		var err error
		if names, err = siblings(path, stem); err != nil {
			return nil, err
		}
	}
	p := &parts{stem: stem, names: names}
	for i, name := range names {
		if err := p.open(i, name); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

func (p *parts) open(i int, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	p.files = append(p.files, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch n := info.Size(); {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", name)
	case i == 0:
		p.each = max(1, n)
	case n > p.each || n < p.each && i < len(p.names)-1:
		return fmt.Errorf("%s has %d bytes and %s has %d, but all parts except the last are of one size: copy the wrong one again", name, n, p.names[0], p.each)
	}
	p.size += info.Size()
	return nil
}

// siblings lists the parts of a split archive. What is known to be missing is
// named in the error.
func siblings(path, stem string) ([]string, error) {
	listed, err := listedSums(stem)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	last := -1
	note := func(name string, exists bool) {
		m := numbered.FindStringSubmatch(name)
		if m == nil || m[1] != stem {
			return
		}
		n, _ := strconv.Atoi(m[2])
		last = max(last, n)
		there[name] = there[name] || exists
	}
	files, err := os.ReadDir(filepath.Dir(stem))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		note(filepath.Join(filepath.Dir(stem), f.Name()), true)
	}
	for name := range listed {
		note(filepath.Join(filepath.Dir(stem), name), false)
	}
	var names, missing []string
	for i := range last + 1 {
		name := part(stem, i)
		names = append(names, name)
		if !there[name] {
			missing = append(missing, name)
		}
	}
	switch {
	case unfinished(stem):
		return nil, fmt.Errorf("%s is not complete, its export was interrupted: run the same `privatelink export` again, it goes on where it was", stem)
	case last < 0:
		return nil, fmt.Errorf("%s: %w, and neither is %s", path, fs.ErrNotExist, part(stem, 0))
	case len(missing) > 0:
		return nil, fmt.Errorf("the archive %s lacks %s: copy it beside the other parts", stem, strings.Join(missing, ", "))
	}
	return names, nil
}

// unfinished tells of what an interrupted export leaves.
func unfinished(stem string) bool {
	return slices.ContainsFunc([]string{stem + partial, part(stem, 0) + partial}, exists)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// listedSums reads FILE.sha256, if it is there: digests by the name of the part.
func listedSums(stem string) (map[string]digest.Digest, error) {
	text, err := os.ReadFile(stem + sums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseSums(stem+sums, string(text))
}

// parseSums reads what sha256sum writes.
func parseSums(file, text string) (map[string]digest.Digest, error) {
	all := map[string]digest.Digest{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		encoded, name, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		d := digest.NewDigestFromEncoded(digest.SHA256, encoded)
		if !ok || d.Validate() != nil || len(name) < 2 {
			return nil, fmt.Errorf("%s:%d: is no line of sha256sum", file, n)
		}
		all[name[1:]] = d // after a space, or * for binary
	}
	return all, nil
}
