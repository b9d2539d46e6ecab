// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// smallArchive returns an archive with a blob of each kind, always the same.
func smallArchive(t testing.TB) []byte {
	t.Helper()
	from := fakeregistry.Start(t)
	fakeregistry.Push(t, from.Host+"/a:v1", index(t, 100, 1))
	pushReferrers(t, from.Host+"/a:v1")
	c := content(t, targets("registry.example.com", from.Host+"/a:v1"))
	c.Lock.Images[0].Source = "example.com/a:v1"
	file := filepath.Join(t.TempDir(), "images.tar")
	write(t, c, archive.WriteOptions{File: file})
	return readFile(t, file)
}

// FuzzOpen checks that a changed archive is refused or consistent.
func FuzzOpen(f *testing.F) {
	good := smallArchive(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(good[512:])
	f.Fuzz(func(t *testing.T, text []byte) { readAll(t, text) })
}

// FuzzDescription does the same with descriptions that have the right digests, as an
// attacker would write them.
func FuzzDescription(f *testing.F) {
	entries := map[string][]byte{}
	file := filepath.Join(f.TempDir(), "images.tar")
	good := smallArchive(f)
	writeFile(f, file, good)
	var blob string
	for name, r := range regions(f, file) {
		entries[name] = good[r[0] : r[0]+r[1]]
		if strings.HasPrefix(name, "blobs/") && (blob == "" || name < blob) {
			blob = name
		}
	}
	described := []string{"oci-layout", "index.json", "privatelink.lock.yaml", "privatelink.archive.json"}
	f.Add(entries[described[0]], entries[described[1]], entries[described[2]], entries[described[3]], blob, entries[blob])
	f.Fuzz(func(t *testing.T, layout, index, lock, meta []byte, blob string, content []byte) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		add := func(name string, text []byte) {
			if w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644}) == nil {
				_, _ = w.Write(text)
			}
		}
		var sums strings.Builder
		for i, text := range [][]byte{layout, index, lock, meta} {
			add(described[i], text)
			fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(text), described[i])
		}
		add("privatelink.sha256", []byte(sums.String()))
		add(blob, content)
		for name, text := range entries {
			if strings.HasPrefix(name, "blobs/") && name != blob {
				add(name, text)
			}
		}
		_ = w.Close() // an incomplete tar is a valid input
		readAll(t, b.Bytes())
	})
}

// readAll reads an archive like an import.
func readAll(t *testing.T, text []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x")
	writeFile(t, file, text)
	a, err := archive.Open(file)
	if err != nil {
		if !strings.Contains(err.Error(), file) {
			t.Errorf("the error does not name the file: %v", err)
		}
		return
	}
	defer a.Close()
	for _, i := range a.Lock().Images {
		source := rewrite.SplitReference(i.Source)
		d, err := a.Resolve(t.Context(), source.Repository, source.Identifier())
		if err != nil || d.Digest != i.Digest {
			t.Errorf("%s is %v, %v", i.Source, d, err)
		}
		_, _ = a.Manifest(t.Context(), source.Repository, d) // may be corrupt
		_, _ = a.Referrers(t.Context(), source.Repository, d)
	}
	_ = a.Verify(t.Context()) // may be corrupt
}
