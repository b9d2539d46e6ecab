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

// blobStore has the content of all repositories, without duplicates.
type blobStore struct {
	dir string

	mu     sync.Mutex
	memory map[digest.Digest][]byte
}

func newBlobStore(dir string) *blobStore {
	return &blobStore{dir: dir, memory: map[digest.Digest][]byte{}}
}

func (b *blobStore) file(d digest.Digest) string { return filepath.Join(b.dir, d.Encoded()) }

// sink receives the content of an upload.
type sink struct {
	buffer bytes.Buffer
	file   *os.File // nil if the content is in the buffer
}

func (b *blobStore) newSink() (*sink, error) {
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

// drop discards the content.
func (s *sink) drop() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// add stores the content of a sink as a blob.
func (b *blobStore) add(s *sink, d digest.Digest) error {
	if s.file != nil {
		return errors.Join(s.file.Close(), os.Rename(s.file.Name(), b.file(d)))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.memory[d] = s.buffer.Bytes()
	return nil
}

// size returns the size of a blob in bytes.
func (b *blobStore) size(d digest.Digest) (int64, error) {
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

func (b *blobStore) open(d digest.Digest) (content, error) {
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
