// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/castai/privatelink-webhook/internal/atomicfile"
)

// Read reads a lock file.
func Read(file string) (*Lock, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Marshal returns the content of the file. Images are sorted by source.
func (l *Lock) Marshal() ([]byte, error) {
	c := *l
	c.APIVersion, c.Kind = APIVersion, Kind
	c.Images, c.NotCopied = slices.Clone(c.Images), slices.Clone(c.NotCopied)
	slices.SortFunc(c.Images, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target)) })
	slices.SortFunc(c.NotCopied, func(a, b NotCopied) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target))
	})
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(c), e.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Write replaces the file atomically. A lock that Parse would refuse, such as one
// without images, is an error, and the file is not changed. A symbolic link is
// replaced, and not followed.
func (l *Lock) Write(file string) error {
	text, err := l.Marshal()
	if err != nil {
		return err
	}
	if _, err := Parse(file, text); err != nil {
		return fmt.Errorf("%w; the file was not written", err)
	}
	return atomicfile.Write(file, text)
}

// CheckWritable returns an error if Write cannot create the file, so that a run can
// fail before it copies anything.
func CheckWritable(file string) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: name another one", file)
	}
	tmp, err := atomicfile.Create(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s cannot be written, because the folder %s does not exist: create it, or name another file", file, filepath.Dir(file))
	}
	if err != nil {
		return err
	}
	return errors.Join(tmp.Close(), os.Remove(tmp.Name()))
}
