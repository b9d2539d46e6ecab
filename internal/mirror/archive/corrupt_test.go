// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// A bit is changed in every entry. Either the archive is refused, or the image that the
// bit belongs to is not copied.
func TestChangedBits(t *testing.T) {
	from := fakeregistry.Start(t)
	images := publish(t, from, "registry.example.com")[:2]
	c := content(t, images)
	bare, err := (&mirror.Mirror{Source: client()}).ReadContent(t.Context(), images, c.Lock.Registry, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Damaged signatures cause a warning, and the image is copied without them.
	ofReferrers := func(region string) bool {
		return strings.Contains(region, "blobs/") && !slices.ContainsFunc(bare.Blobs, func(b mirror.Blob) bool { return strings.HasSuffix(region, b.Descriptor.Digest.Encoded()) }) &&
			!slices.ContainsFunc(c.Manifests, func(m mirror.Manifest) bool { return strings.HasSuffix(region, m.Descriptor.Digest.Encoded()) })
	}
	file := filepath.Join(t.TempDir(), "images.tar")
	write(t, c, archive.WriteOptions{File: file})
	good := readFile(t, file)
	type flip struct {
		region string
		at     int64
	}
	var flips []flip
	for name, r := range regions(t, file) {
		flips = append(flips, flip{"the header of " + name, r[0] - 512 + 130}, flip{name, r[0] + r[1]/2}, flip{"the end of " + name, r[0] + r[1] - 1})
	}
	flips = append(flips, flip{"the end of the archive", int64(len(good)) - 1000})
	if len(flips) < 40 {
		t.Fatalf("only %d regions", len(flips))
	}
	for _, f := range flips {
		t.Run(strings.ReplaceAll(f.region, "/", "_"), func(t *testing.T) {
			t.Parallel()
			to := fakeregistry.Start(t)
			bad := slices.Clone(good)
			bad[f.at] ^= 0x10
			changed := filepath.Join(t.TempDir(), "images.tar")
			writeFile(t, changed, bad)
			a, err := archive.Open(changed)
			if err == nil {
				err = importToHost(t, a, client(), to.Host)
				err = errors.Join(err, a.Close())
			}
			if err == nil {
				t.Fatalf("the change was not found")
			}
			if !strings.Contains(err.Error(), changed) {
				t.Errorf("the error does not name the file: %v", err)
			}
			for _, i := range c.Lock.Images {
				ref := to.Host + strings.TrimPrefix(i.Target, rewrite.RegistryHost(i.Target))
				if got := fakeregistry.Digest(t, ref); got == i.Digest.String() {
					fakeregistry.Verify(t, ref) // the other one
				} else if got != "" {
					t.Errorf("%s is %s", ref, got)
				}
			}
			if to.Count("PUT", "/manifests/v") == len(c.Lock.Images) && !ofReferrers(f.region) {
				t.Error("everything got its tag")
			}
		})
	}
}

// regions returns offset and size of each entry's content.
func regions(t testing.TB, file string) map[string][2]int64 {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := map[string][2]int64{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = [2]int64{at, h.Size}
	}
}

func TestInvalidArchives(t *testing.T) {
	from := fakeregistry.Start(t)
	good := filepath.Join(t.TempDir(), "images.tar")
	write(t, content(t, publish(t, from, "registry.example.com")[:1]), archive.WriteOptions{File: good})
	whole := readFile(t, good)
	tarOf := func(entries ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range entries {
			h.Mode = 0o644
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Size < 1<<20 {
				_, _ = w.Write(make([]byte, h.Size))
			}
		}
		_ = w.Flush() // too large entries cannot be written
		return append(b.Bytes(), make([]byte, 1024)...)
	}
	blob := "blobs/sha256/" + strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"a foreign tar":         {tarOf(tar.Header{Name: "manifest.json", Size: 10}), "does not belong"},
		"another OCI layout":    {tarOf(tar.Header{Name: "oci-layout", Size: 10}, tar.Header{Name: "index.json", Size: 10}), "was not written by `privatelink export`"},
		"a too large blob":      {tarOf(tar.Header{Name: blob, Size: 1 << 60}), "too large"},
		"an invalid digest":     {tarOf(tar.Header{Name: "blobs/sha256/xyz", Size: 10}), "does not belong"},
		"cut off at the start":  {whole[:700], "truncated"},
		"cut off in the middle": {whole[:len(whole)/2], fmt.Sprintf("is truncated: it has %d of %d bytes", len(whole)/2, len(whole))},
		"cut off by a block":    {whole[:len(whole)-1024-512], "is truncated: it has"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "images.tar")
			writeFile(t, file, tc.text)
			a, err := archive.Open(file)
			if err == nil {
				t.Error(a.Close())
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("the error does not say %q: %v", tc.want, err)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if _, err := archive.Open(filepath.Join(t.TempDir(), "x")); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}
