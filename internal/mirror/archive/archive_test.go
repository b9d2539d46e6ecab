// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/content/oci"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestExportAndImport(t *testing.T) {
	from, to := fakeregistry.Start(t), fakeregistry.Start(t)
	images := publish(t, from, to.Host)
	c := content(t, images)
	file := filepath.Join(t.TempDir(), "images.tar")
	from.ResetLog()
	s := write(t, c, archive.WriteOptions{File: file})
	if got := from.Count("GET", "/blobs/"); got != s.Blobs || got != len(c.Blobs) {
		t.Errorf("%d blobs were fetched, and %d are in the archive of %d", got, s.Blobs, len(c.Blobs))
	}
	a := open(t, file)
	if err := a.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if want, got := text(t, c.Lock), text(t, a.Lock()); want != got {
		t.Error(cmp.Diff(want, got))
	}
	if err := importArchive(t, a, client()); err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		if want, got := fakeregistry.Digest(t, i.Source), fakeregistry.Digest(t, i.Target); want != got {
			t.Errorf("%s is %s, and %s is %s", i.Source, want, i.Target, got)
		}
		fakeregistry.Verify(t, i.Target)
		if want, got := fakeregistry.Referrers(t, i.Source), fakeregistry.Referrers(t, i.Target); !slices.Equal(want, got) {
			t.Errorf("%s has the referrers %v, and %s has %v", i.Source, want, i.Target, got)
		}
	}
	sig := strings.Replace(fakeregistry.Digest(t, images[0].Source), ":", "-", 1) + ".sig"
	repository := rewrite.SplitReference(images[0].Target).Repository
	fakeregistry.Verify(t, repository+":"+sig)
	if len(fakeregistry.Referrers(t, images[0].Target)) == 0 {
		t.Error("the test has no referrers")
	}
}

func TestOtherToolsReadArchives(t *testing.T) {
	from, to := fakeregistry.Start(t), fakeregistry.Start(t)
	images := publish(t, from, to.Host)
	c := content(t, images)
	dir := t.TempDir()
	file := filepath.Join(dir, "images.tar")
	write(t, c, archive.WriteOptions{File: file})

	store, err := oci.NewFromTar(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range c.Lock.Images {
		d, err := oras.Copy(t.Context(), store, i.Source, memory.New(), "", oras.DefaultCopyOptions)
		if err != nil || d.Digest != i.Digest {
			t.Errorf("oras copies %s as %s: %v", i.Source, d.Digest, err)
		}
	}
	unpack(t, file, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		if d.MediaType.IsImage() {
			i, err := index.Image(d.Digest)
			if err = errors.Join(err, verifyImage(i)); err != nil {
				t.Error(err)
			}
		}
	}
	if len(m.Manifests) < len(images)+2 {
		t.Errorf("only %d manifests: those of referrers and signatures are missing", len(m.Manifests))
	}
}

func TestReproducible(t *testing.T) {
	from, to := fakeregistry.Start(t), fakeregistry.Start(t)
	images := publish(t, from, to.Host)
	dir := t.TempDir()
	var first []byte
	for n, parallel := range []int{1, 16} {
		file := filepath.Join(dir, fmt.Sprint(n))
		write(t, content(t, images), archive.WriteOptions{File: file, Parallel: parallel})
		if first == nil {
			first = readFile(t, file)
		} else if !bytes.Equal(first, readFile(t, file)) {
			t.Error("two exports differ")
		}
	}
	s := write(t, content(t, images), archive.WriteOptions{File: filepath.Join(dir, "split"), Split: 10_000})
	var joined []byte
	for _, p := range s.Parts {
		joined = append(joined, readFile(t, p.Name)...)
	}
	if !bytes.Equal(first, joined) {
		t.Error("the parts of a split archive do not make the whole")
	}
}

func TestFilteredPlatforms(t *testing.T) {
	from, to := fakeregistry.Start(t), fakeregistry.Start(t)
	images := publish(t, from, to.Host)[:1]
	m := &mirror.Mirror{Source: client(), Platforms: []string{"linux/arm64"}}
	c, err := m.ReadContent(t.Context(), images, to.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "arm64.tar")
	write(t, c, archive.WriteOptions{File: file})
	if err := importArchive(t, open(t, file), client()); err != nil {
		t.Fatal(err)
	}
	if got := fakeregistry.Digest(t, images[0].Target); got != c.Lock.Images[0].Digest.String() || got == fakeregistry.Digest(t, images[0].Source) {
		t.Errorf("%s is %s", images[0].Target, got)
	}
	fakeregistry.Verify(t, images[0].Target)
}

func TestSource(t *testing.T) {
	from, to := fakeregistry.Start(t), fakeregistry.Start(t)
	images := publish(t, from, to.Host)
	c := content(t, images)
	file := filepath.Join(t.TempDir(), "images.tar")
	write(t, c, archive.WriteOptions{File: file})
	a := open(t, file)
	for _, i := range c.Lock.Images {
		source := rewrite.SplitReference(i.Source)
		for _, name := range []string{source.Identifier(), i.Digest.String()} {
			if d, err := a.Resolve(t.Context(), source.Repository, name); err != nil || d.Digest != i.Digest || d.MediaType != i.MediaType {
				t.Errorf("%s %s is %v, %v", source.Repository, name, d, err)
			}
		}
	}
	for _, m := range c.Manifests {
		d, err := a.Resolve(t.Context(), "whatever", m.Descriptor.Digest.String())
		if err != nil || d.Size != m.Descriptor.Size || d.MediaType != m.Descriptor.MediaType {
			t.Errorf("%s is %v, %v", m.Descriptor.Digest, d, err)
		}
	}
	repository := rewrite.SplitReference(images[0].Source).Repository
	for _, name := range []string{"v0", "sha256:" + strings.Repeat("0", 64), "sha256:0", c.Blobs[0].Descriptor.Digest.String()} {
		if d, err := a.Resolve(t.Context(), repository, name); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("%s is %v, %v", name, d, err)
		}
	}
}

func text(t *testing.T, l *lock.Lock) string {
	t.Helper()
	b, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
