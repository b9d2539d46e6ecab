// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestSplit(t *testing.T) {
	from, to := fakeregistry.Start(t), fakeregistry.Start(t)
	images := publish(t, from, to.Host)
	const most = 20_000
	export := func(t *testing.T) (stem string, s archive.Summary) {
		stem = filepath.Join(t.TempDir(), "images.tar")
		s = write(t, content(t, images), archive.WriteOptions{File: stem, Split: most})
		if len(s.Parts) < 4 {
			t.Fatalf("only %d parts", len(s.Parts))
		}
		return stem, s
	}
	t.Run("is opened by the name of the whole or of any part", func(t *testing.T) {
		stem, s := export(t)
		for _, path := range []string{stem, stem + ".000", stem + ".002"} {
			a := open(t, path)
			if err := a.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		}
		var sums strings.Builder
		for _, p := range s.Parts {
			if n := int64(len(readFile(t, p.Name))); n > most || n != p.Size {
				t.Errorf("%s has %d bytes", p.Name, n)
			}
			fmt.Fprintf(&sums, "%s  %s\n", p.Digest.Encoded(), filepath.Base(p.Name))
		}
		if got := string(readFile(t, stem+".sha256")); got != sums.String() {
			t.Error(cmp.Diff(sums.String(), got))
		}
		if err := importArchive(t, open(t, stem), client()); err != nil {
			t.Error(err)
		}
	})
	for name, tc := range map[string]struct {
		harm func(t *testing.T, s archive.Summary)
		want func(s archive.Summary) string
	}{
		"the first is missing":  {drop(0), missing(0)},
		"one in the middle":     {drop(1), missing(1)},
		"the last is missing":   {drop(-1), missing(-1)},
		"two are missing":       {func(t *testing.T, s archive.Summary) { drop(1)(t, s); drop(2)(t, s) }, func(s archive.Summary) string { return s.Parts[1].Name + ", " + s.Parts[2].Name }},
		"the last, and no list": {func(t *testing.T, s archive.Summary) { drop(-1)(t, s); unlist(t, s) }, missing(-1)},
		"one is truncated":      {cut(1), func(s archive.Summary) string { return s.Parts[1].Name + " has 10 bytes" }},
		"the last is truncated": {cut(-1), func(s archive.Summary) string { return s.Parts[len(s.Parts)-1].Name + " is truncated: it has 10 of" }},
	} {
		t.Run(name, func(t *testing.T) {
			stem, s := export(t)
			tc.harm(t, s)
			a, err := archive.Open(stem + ".000")
			if err == nil {
				t.Error(a.Close())
			}
			if want := tc.want(s); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		})
	}
	t.Run("a part of another archive is found by Verify", func(t *testing.T) {
		stem, s := export(t)
		b := readFile(t, s.Parts[2].Name)
		b[100] ^= 1
		writeFile(t, s.Parts[2].Name, b)
		err := open(t, stem).Verify(t.Context())
		if !errors.Is(err, registry.ErrCorrupt) || !strings.Contains(err.Error(), s.Parts[2].Name) {
			t.Error(err)
		}
	})
	t.Run("cannot have the name of a part", func(t *testing.T) {
		_, err := archive.Write(t.Context(), content(t, images), client(), archive.WriteOptions{File: filepath.Join(t.TempDir(), "x.000")})
		if err == nil || !strings.Contains(err.Error(), "leave the number out") {
			t.Error(err)
		}
	})
}

func nth(s archive.Summary, i int) string {
	if i < 0 {
		i += len(s.Parts)
	}
	return s.Parts[i].Name
}

func missing(i int) func(archive.Summary) string {
	return func(s archive.Summary) string { return "is missing " + nth(s, i) + ":" }
}

func drop(i int) func(*testing.T, archive.Summary) {
	return func(t *testing.T, s archive.Summary) { removeFile(t, nth(s, i)) }
}

func cut(i int) func(*testing.T, archive.Summary) {
	return func(t *testing.T, s archive.Summary) {
		if err := os.Truncate(nth(s, i), 10); err != nil {
			t.Fatal(err)
		}
	}
}

func unlist(t *testing.T, s archive.Summary) {
	removeFile(t, strings.TrimSuffix(s.Parts[0].Name, ".000")+".sha256")
}
