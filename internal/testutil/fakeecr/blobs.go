// SPDX-License-Identifier: Apache-2.0

package fakeecr

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
)

// blobs are the bytes, each content once, whichever repositories have it.
type blobs struct {
	dir string

	mu     sync.Mutex
	memory map[digest.Digest][]byte
}

func newBlobs(dir string) *blobs { return &blobs{dir: dir, memory: map[digest.Digest][]byte{}} }

func (b *blobs) file(d digest.Digest) string { return filepath.Join(b.dir, d.Encoded()) }

// sink takes the bytes of an upload.
type sink struct {
	buffer bytes.Buffer
	file   *os.File // nil: the buffer
}

func (b *blobs) sink() (*sink, error) {
	if b.dir == "" {
		return &sink{}, nil
	}
	f, err := os.CreateTemp(b.dir, "upload-")
	return &sink{file: f}, err
}

func (s *sink) Write(p []byte) (int, error) {
	if s.file != nil {
		return s.file.Write(p)
	}
	return s.buffer.Write(p)
}

// drop forgets what was written.
func (s *sink) drop() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// keep makes a blob of what was written.
func (b *blobs) keep(s *sink, d digest.Digest) error {
	if s.file != nil {
		return errors.Join(s.file.Close(), os.Rename(s.file.Name(), b.file(d)))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.memory[d] = s.buffer.Bytes()
	return nil
}

// size of a blob that there is.
func (b *blobs) size(d digest.Digest) (int64, error) {
	content, err := b.open(d)
	if err != nil {
		return 0, err
	}
	size, err := content.Seek(0, io.SeekEnd)
	return size, errors.Join(err, content.Close())
}

type content interface {
	io.ReadSeeker
	io.Closer
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

func (b *blobs) open(d digest.Digest) (content, error) {
	if b.dir != "" {
		return os.Open(b.file(d))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	text, ok := b.memory[d]
	if !ok {
		return nil, os.ErrNotExist
	}
	return inMemory{bytes.NewReader(text)}, nil
}
