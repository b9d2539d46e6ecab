// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Sizes above 8 GiB and SHA-512 digests do not fit into a plain tar header.
func TestLargeBlobs(t *testing.T) {
	large, long := digest.FromString("large"), digest.SHA512.FromString("long")
	l, err := newLayout([]*entry{{name: blobEntry(large), size: 9<<30 + 1}, {name: blobEntry(long), size: 513}})
	if err != nil {
		t.Fatal(err)
	}
	// Four parts, in files with holes.
	p := &parts{stem: "x", partLimit: 3 << 30, size: l.size}
	for range 4 {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		p.files, p.names = append(p.files, f), append(p.names, f.Name())
	}
	for i, f := range p.files {
		if err := f.Truncate(p.partSize(i)); err != nil {
			t.Skip(err) // a file system without holes
		}
	}
	for _, e := range l.entries {
		if _, err := p.WriteAt(e.header, e.offset); err != nil {
			t.Fatal(err)
		}
	}
	a := &Archive{parts: p, entries: map[string]region{}}
	if err := a.readHeaders(); err != nil {
		t.Fatal(err)
	}
	for _, e := range l.entries {
		if got, want := a.entries[e.name], (region{e.contentOffset(), e.size}); got != want {
			t.Errorf("%s is at %v, not at %v", e.name, got, want)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadAndWriteAcrossParts(t *testing.T) {
	p := &parts{partLimit: 4, size: 10}
	for range 3 {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		p.files, p.names = append(p.files, f), append(p.names, f.Name())
	}
	if n, err := p.WriteAt([]byte("0123456789"), 0); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	for at := range 11 {
		for n := range 12 {
			b := make([]byte, n)
			got, err := p.ReadAt(b, int64(at))
			want := ""
			if at < 10 {
				want = "0123456789"[at:min(10, at+n)]
			}
			if string(b[:got]) != want || (got < n) != errors.Is(err, io.EOF) {
				t.Errorf("%d bytes at %d are %q, %v", n, at, b[:got], err)
			}
		}
	}
	if got := p.position(9); !strings.HasSuffix(got, ", byte 1") {
		t.Error(got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestHeadersAreReproducible(t *testing.T) {
	l, err := newLayout([]*entry{textEntry("a", nil)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(strings.NewReader(string(l.entries[0].header) + strings.Repeat("\x00", 1024))).Next()
	if err != nil || h.ModTime.Unix() != 0 || h.Uid != 0 || h.Uname != "" || h.Mode != 0o644 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestMissingBaseErrorIsShort(t *testing.T) {
	blobs := make([]assumedBlob, 12)
	for i := range blobs {
		blobs[i] = assumedBlob{contentInfo{digest.FromString("x"), 100 << 20}, []int{0}}
	}
	a := &Archive{parts: &parts{stem: "x.tar"}, meta: meta{Assumes: &assumption{Images: []assumedImage{{Source: "a:v1"}}}}}
	text := a.missingBaseError(blobs).Error()
	if strings.Count(text, "(100.0 MiB, of a:v1)") != 10 || !strings.HasSuffix(text, "\n  and 2 more") {
		t.Error(text)
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{1023: "1023 bytes", 1024: "1.0 KiB", 3 << 30: "3.0 GiB", 5000 << 40: "5000.0 TiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
