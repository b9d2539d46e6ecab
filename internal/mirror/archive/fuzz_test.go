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
)

// small is an archive with a blob of each kind. It has the same bytes always.
func small(t testing.TB) []byte {
	t.Helper()
	from := serve(t)
	push(t, from.host+"/a:v1", index(t, 100, 1))
	refer(t, from.host+"/a:v1")
	c := content(t, targets(&server{host: "registry.example.com"}, from.host+"/a:v1"))
	c.Lock.Images[0].Source = "example.com/a:v1"
	file := filepath.Join(t.TempDir(), "images.tar")
	write(t, c, archive.WriteOptions{File: file})
	return read(t, file)
}

// FuzzOpen: a changed archive is refused, or gives what it says.
func FuzzOpen(f *testing.F) {
	good := small(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(good[512:])
	f.Fuzz(func(t *testing.T, text []byte) { use(t, text) })
}

// FuzzDescription does the same with descriptions whose digests are right: what
// somebody who means harm would write.
func FuzzDescription(f *testing.F) {
	entries := map[string][]byte{}
	file := filepath.Join(f.TempDir(), "images.tar")
	good := small(f)
	put(f, file, good)
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
		_ = w.Close() // nothing to lose
		use(t, b.Bytes())
	})
}

// use opens an archive and does with it what an import does.
func use(t *testing.T, text []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x")
	put(t, file, text)
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
