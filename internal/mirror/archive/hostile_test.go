// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// TestLinksInTheFolderOfAnArchiveAreNotFollowed plants other files under the names that
// an export is about to write.
func TestLinksInTheFolderOfAnArchiveAreNotFollowed(t *testing.T) {
	from := fakeregistry.Start(t)
	c := content(t, publish(t, from, "registry.example.com")[:1])
	for _, suffix := range []string{".partial", ".sha256.partial"} {
		for name, plant := range map[string]func(victim, planted string) error{
			"a symbolic link":     os.Symlink,
			"a dangling link":     func(victim, planted string) error { return os.Symlink(victim+".none", planted) },
			"a hard link":         os.Link,
			"a named pipe":        func(_, planted string) error { return syscall.Mkfifo(planted, 0o600) },
			"a folder":            func(_, planted string) error { return os.Mkdir(planted, 0o700) },
			"a link to a device":  func(_, planted string) error { return os.Symlink("/dev/null", planted) },
			"a link to a folder":  func(victim, planted string) error { return os.Symlink(filepath.Dir(victim), planted) },
			"a link to the other": func(_, planted string) error { return os.Symlink("images.tar", planted) },
		} {
			t.Run(name+suffix, func(t *testing.T) {
				dir := t.TempDir()
				victim, file := filepath.Join(dir, "victim"), filepath.Join(dir, "images.tar")
				writeFile(t, victim, []byte("precious"))
				if err := plant(victim, file+suffix); err != nil {
					t.Skip(err)
				}
				_, err := archive.Write(t.Context(), c, client(), archive.WriteOptions{File: file})
				if err == nil || !strings.Contains(err.Error(), file+suffix+" is not a file of an interrupted export: remove it") {
					t.Errorf("error %v", err)
				}
				if got := readFile(t, victim); string(got) != "precious" {
					t.Errorf("the other file was changed: %q", got)
				}
				if _, err := os.Stat(victim + ".none"); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("a file was created through the link: %v", err)
				}
				if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("an archive was written: %v", err)
				}
			})
		}
	}
}

func TestCompressedArchivesAreNamed(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(smallArchive(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"gzip":      {b.Bytes(), "is compressed with gzip, decompress it with gunzip"},
		"Zstandard": {[]byte("\x28\xb5\x2f\xfd\x00"), "Zstandard, decompress it with unzstd"},
		"xz":        {[]byte("\xfd7zXZ\x00"), "xz, decompress it with unxz"},
		"bzip2":     {[]byte("BZh9"), "bzip2, decompress it with bunzip2"},
		"a page":    {[]byte("<html>" + strings.Repeat(" ", 1000)), "is not an archive of `privatelink export`"},
		"nothing":   {nil, "is not an archive of `privatelink export`"},
	} {
		file := filepath.Join(t.TempDir(), "images.tar")
		writeFile(t, file, tc.text)
		if _, err := archive.Open(file); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestOtherFilesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	for _, file := range []string{dir, pipe, "/dev/null"} {
		if _, err := archive.Open(file); err == nil || !strings.Contains(err.Error(), file+" is not a regular file") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestCountsAndNamesOfEntriesAreBounded writes headers that cost an attacker little.
func TestCountsAndNamesOfEntriesAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		header tar.Header
		count  int
		want   string
	}{
		"many folders":        {tar.Header{Typeflag: tar.TypeDir, Name: "blobs/"}, 100_002, "has more than 100000 entries"},
		"a path that climbs":  {tar.Header{Typeflag: tar.TypeReg, Name: "../index.json"}, 1, "does not belong to an archive"},
		"an absolute path":    {tar.Header{Typeflag: tar.TypeReg, Name: "/index.json"}, 1, "does not belong to an archive"},
		"a blob that climbs":  {tar.Header{Typeflag: tar.TypeReg, Name: "blobs/sha256/../../index.json"}, 1, "does not belong to an archive"},
		"a link":              {tar.Header{Typeflag: tar.TypeSymlink, Name: "index.json", Linkname: "/etc/passwd"}, 1, "is not a regular file"},
		"a hard link":         {tar.Header{Typeflag: tar.TypeLink, Name: "index.json", Linkname: "/etc/passwd"}, 1, "is not a regular file"},
		"a device":            {tar.Header{Typeflag: tar.TypeChar, Name: "index.json"}, 1, "is not a regular file"},
		"the same name twice": {tar.Header{Typeflag: tar.TypeReg, Name: "index.json"}, 2, "is a duplicate"},
		"a text of 17 MiB":    {tar.Header{Typeflag: tar.TypeReg, Name: "index.json", Size: 17 << 20}, 1, "is too large"},
		"an empty archive":    {tar.Header{Typeflag: tar.TypeDir, Name: "x"}, 1, "is not an archive of `privatelink export`"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for range tc.count {
				if err := w.WriteHeader(&tc.header); err != nil {
					t.Fatal(err)
				}
			}
			_ = w.Flush() // a size without content is part of the attack
			file := filepath.Join(t.TempDir(), "images.tar")
			writeFile(t, file, append(b.Bytes(), make([]byte, 1024)...))
			if _, err := archive.Open(file); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
