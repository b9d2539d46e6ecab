// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// A Cache is a folder with indexes, archives and results of earlier runs. Several runs may
// use it at the same time. What is damaged in it counts as absent, and what cannot be
// written is not kept: it saves requests, and no run needs it. The zero value keeps nothing.
type Cache struct {
	Dir  string
	warn func(error) // nil: discards
}

// NewCache returns the cache in a folder; "" keeps nothing. warnf receives, once, why the
// folder cannot be written.
func NewCache(dir string, warnf func(format string, args ...any)) Cache {
	var once sync.Once
	return Cache{dir, func(err error) {
		once.Do(func() {
			warnf("nothing is kept for the next run: cache: %v: make room in the folder and make it writable, or name another one by XDG_CACHE_HOME", err)
		})
	}}
}

// cachedIndex is an index as it was last read.
type cachedIndex struct {
	Address    string
	Validators validators
	SHA256     string // of the text
	Index      Index
}

// Read reads what Keep kept under a name into value, and reports whether it was there.
func (c Cache) Read(name string, value any) bool {
	if c.Dir == "" {
		return false
	}
	text, err := os.ReadFile(filepath.Join(c.Dir, name))
	return err == nil && json.Unmarshal(text, value) == nil
}

// Keep keeps a value as JSON under the name of a file.
func (c Cache) Keep(name string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		c.report(err)
		return
	}
	c.keep(name, text)
}

// keep writes a file, and warns if that fails.
func (c Cache) keep(name string, data []byte) {
	if c.Dir == "" {
		return
	}
	if err := c.write(name, data); err != nil {
		c.report(err)
	}
}

func (c Cache) report(err error) {
	if c.warn != nil {
		c.warn(err)
	}
}

// write replaces a file as a whole, so that another run never reads half of it.
func (c Cache) write(name string, data []byte) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(c.Dir, "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once it is renamed
	_, err = file.Write(data)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(c.Dir, name))
	}
	return err
}

func (c Cache) index(address string) (known cachedIndex) {
	if !c.Read(indexFile(address), &known) || known.Address != address || len(known.Index.Charts) == 0 {
		return cachedIndex{}
	}
	return known
}

func (c Cache) keepIndex(i cachedIndex) { c.Keep(indexFile(i.Address), i) }

func indexFile(address string) string { return "index-" + Key(address) + ".json" }

// An Archive is a chart as it was fetched.
type Archive struct {
	Version
	Data []byte
}

// Fetch returns the archive of a version, from the cache if it is there. The digest of the
// result is that of its bytes, also if the index has none.
func (c Cache) Fetch(ctx context.Context, v Version) (Archive, error) {
	// Versions without a digest are told apart by all that the index has.
	record := "digest-" + Key(v.URL, v.Chart, v.Version, v.Created) + ".json"
	key := v.Digest
	if key == "" {
		_ = c.Read(record, &key)
	}
	if data, ok := c.archive(key); ok {
		v.Digest = key
		return Archive{v, data}, nil
	}
	data, err := get(ctx, v.URL, maxArchive)
	if err != nil {
		return Archive{}, err
	}
	if err := verify(data, v.Digest); err != nil {
		return Archive{}, fmt.Errorf("chart %s: %w", redacted(v.URL), err)
	}
	if _, err := archive(redacted(v.URL), data, ""); err != nil {
		return Archive{}, err
	}
	digest := hexSum(data)
	if v.Digest == "" {
		c.Keep(record, digest)
	}
	c.keep(digest+".tgz", data)
	v.Digest = digest
	return Archive{v, data}, nil
}

// archive returns an archive that was kept, unless it was damaged since.
func (c Cache) archive(digest string) ([]byte, bool) {
	if c.Dir == "" || !isSHA256(digest) {
		return nil, false
	}
	data, err := os.ReadFile(filepath.Join(c.Dir, digest+".tgz"))
	return data, err == nil && hexSum(data) == digest
}

// isSHA256 reports whether a text has the form of a digest, so that it can be the name of
// a file.
func isSHA256(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Key makes part of the name of a file, which is another one for other values.
func Key(values ...any) string {
	text, err := json.Marshal(values)
	if err != nil {
		text = fmt.Appendf(nil, "%#v", values)
	}
	return hexSum(text)[:32]
}
