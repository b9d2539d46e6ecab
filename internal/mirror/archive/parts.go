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

// maxParts is the number of names of the form FILE.000.
const maxParts = 1000

const (
	partialSuffix = ".partial" // of a file that is not complete
	sumsSuffix    = ".sha256"  // of the list of digests
)

// parts is one or several files that are read and written as one.
type parts struct {
	stem      string // FILE
	names     []string
	files     []*os.File
	partLimit int64 // the size of all parts but the last
	size      int64
}

var partPattern = regexp.MustCompile(`^(.+)\.([0-9]{3})$`)

// partNames returns FILE, or FILE.000 and so on.
func partNames(stem string, total, split int64) ([]string, error) {
	if split <= 0 {
		return []string{stem}, nil
	}
	count := (total + split - 1) / split
	if count > maxParts {
		return nil, fmt.Errorf("%s in parts of %s are %d parts, more than the limit of %d: use larger parts", formatSize(total), formatSize(split), count, maxParts)
	}
	names := make([]string, count)
	for i := range names {
		names[i] = partName(stem, i)
	}
	return names, nil
}

func partName(stem string, i int) string { return fmt.Sprintf("%s.%03d", stem, i) }

// partSize returns the size of a part.
func (p *parts) partSize(i int) int64 { return min(p.partLimit, p.size-int64(i)*p.partLimit) }

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
	n, readErr := p.eachPart(b, off, (*os.File).ReadAt)
	if readErr != nil {
		err = readErr
	}
	return n, err
}

// WriteAt implements io.WriterAt.
func (p *parts) WriteAt(b []byte, off int64) (int, error) {
	return p.eachPart(b, off, (*os.File).WriteAt)
}

// eachPart calls do for each part that has some of the bytes.
func (p *parts) eachPart(b []byte, off int64, do func(*os.File, []byte, int64) (int, error)) (n int, err error) {
	for len(b) > 0 && err == nil {
		i := off / p.partLimit
		within := off - i*p.partLimit
		piece := b[:min(int64(len(b)), p.partLimit-within)]
		var done int
		done, err = do(p.files[i], piece, within)
		if done == len(piece) && errors.Is(err, io.EOF) {
			err = nil
		}
		n, off, b = n+done, off+int64(done), b[done:]
	}
	return n, err
}

// position describes an offset in errors.
func (p *parts) position(off int64) string {
	if len(p.names) == 1 {
		return fmt.Sprintf("%s, byte %d", p.names[0], off)
	}
	i := min(off/p.partLimit, int64(len(p.names)-1))
	return fmt.Sprintf("%s, byte %d", p.names[i], off-i*p.partLimit)
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

// openParts opens all parts of an archive, given its name or that of a part.
func openParts(path string) (*parts, error) {
	path = filepath.Clean(path)
	stem := path
	if m := partPattern.FindStringSubmatch(path); m != nil {
		stem = m[1]
	}
	names := []string{path}
	if _, err := os.Stat(path); stem != path || errors.Is(err, fs.ErrNotExist) {
		var err error
		if names, err = findParts(path, stem); err != nil {
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
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // to open a named pipe would wait for its writer
		return fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	p.files = append(p.files, f)
	if info, err = f.Stat(); err != nil {
		return err
	}
	switch n := info.Size(); {
	case i == 0:
		p.partLimit = max(1, n)
	case n > p.partLimit || n < p.partLimit && i < len(p.names)-1:
		return fmt.Errorf("%s has %d bytes and %s has %d, but all parts except the last have the same size: copy the wrong part again", name, n, p.names[0], p.partLimit)
	}
	p.size += info.Size()
	return nil
}

// findParts returns the names of all parts of a split archive. The error names those
// that are missing.
func findParts(path, stem string) ([]string, error) {
	found, last, err := knownParts(stem)
	if err != nil {
		return nil, err
	}
	var names, missing []string
	for i := range last + 1 {
		name := partName(stem, i)
		names = append(names, name)
		if !found[name] {
			missing = append(missing, name)
		}
	}
	switch {
	case unfinished(stem):
		return nil, fmt.Errorf("%s is not complete, its export was interrupted: run the same `privatelink export` again to resume it", stem)
	case last < 0:
		return nil, fmt.Errorf("%s: %w, and neither is %s", path, fs.ErrNotExist, partName(stem, 0))
	case len(missing) > 0:
		return nil, fmt.Errorf("the archive %s is missing %s: copy it to the directory of the other parts", stem, strings.Join(missing, ", "))
	}
	return names, nil
}

// knownParts returns the parts that exist, and the highest number of a part that exists
// or is listed in FILE.sha256; -1 if there is none.
func knownParts(stem string) (found map[string]bool, last int, err error) {
	listed, err := listedSums(stem)
	if err != nil {
		return nil, 0, err
	}
	files, err := os.ReadDir(filepath.Dir(stem))
	if err != nil {
		return nil, 0, err
	}
	found, last = map[string]bool{}, -1
	add := func(base string, exists bool) {
		name := filepath.Join(filepath.Dir(stem), base)
		m := partPattern.FindStringSubmatch(name)
		if m == nil || m[1] != stem {
			return
		}
		n, _ := strconv.Atoi(m[2]) // the pattern has digits only
		last = max(last, n)
		found[name] = found[name] || exists
	}
	for _, f := range files {
		add(f.Name(), true)
	}
	for base := range listed {
		add(base, false)
	}
	return found, last, nil
}

// unfinished reports whether an interrupted export left files.
func unfinished(stem string) bool {
	return slices.ContainsFunc([]string{stem + partialSuffix, partName(stem, 0) + partialSuffix}, exists)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// listedSums reads FILE.sha256: digests by the name of the part, or nil if it does not
// exist.
func listedSums(stem string) (map[string]digest.Digest, error) {
	text, err := os.ReadFile(stem + sumsSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseSums(stem+sumsSuffix, string(text))
}

// parseSums reads the output of sha256sum.
func parseSums(file, text string) (map[string]digest.Digest, error) {
	all := map[string]digest.Digest{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		encoded, name, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		d := digest.NewDigestFromEncoded(digest.SHA256, encoded)
		if !ok || d.Validate() != nil || len(name) < 2 {
			return nil, fmt.Errorf("%s:%d: not a line of sha256sum", file, n)
		}
		all[name[1:]] = d // after a space, or * for binary
	}
	return all, nil
}
