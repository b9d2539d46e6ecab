// SPDX-License-Identifier: Apache-2.0

package webhookimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

const version = "v0.1.0"

// writeLayout writes the layout of an image for two platforms, and returns the image's
// digest.
func writeLayout(t *testing.T) (dir string, image digest.Digest) {
	t.Helper()
	dir = t.TempDir()
	index := fakeregistry.MultiArch(t, 3000, 1)
	fakeregistry.WriteLayout(t, dir, version, index)
	d, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return dir, digest.Digest(d.String())
}

// registries is a source that must not be used.
type registries struct{ mirror.Source }

// copyTo copies the image to a registry, and returns the result.
func copyTo(t *testing.T, source *Source, target string) *mirror.Item {
	t.Helper()
	client := registry.New(registry.Options{PlainHTTP: func(string) bool { return true }})
	m := mirror.Mirror{Source: source, Target: client.ForPush(), Referrers: true, StrictReferrers: true}
	plan, err := m.Plan(t.Context(), []mirror.Job{{Source: Repository + ":" + version, Target: target}})
	if err == nil {
		err = m.Run(t.Context(), plan, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plan.Items[0]
}

func TestTheImageIsCopiedUnchanged(t *testing.T) {
	dir, image := writeLayout(t)
	target := fakeregistry.Start(t).Host + "/castai/privatelink-webhook:" + version
	i := copyTo(t, NewSource(registries{}, os.DirFS(dir)), target)
	if i.State != mirror.StateCopied || i.Digest() != image || fakeregistry.Digest(t, target) != image.String() {
		t.Errorf("%s, %v: digest %s, want %s", i.State, i.Err, i.Digest(), image)
	}
	fakeregistry.Verify(t, target)
	if n := len(fakeregistry.Children(t, target)); n != 2 {
		t.Errorf("%d platforms, want 2", n)
	}
}

func TestResolve(t *testing.T) {
	dir, image := writeLayout(t)
	s := NewSource(registries{}, os.DirFS(dir))
	for _, name := range []string{version, image.String()} {
		d, err := s.Resolve(t.Context(), Repository, name)
		if err != nil || d.Digest != image || d.MediaType != ocispec.MediaTypeImageIndex || d.Size == 0 || d.Annotations != nil {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	other := digest.FromString("other").String()
	for name, tc := range map[string]struct{ repository, name, want string }{
		"another version":    {Repository, "v0.2.0", Repository + ":v0.2.0: not found: this privatelink carries " + Repository + ":" + version + ", which is " + image.String() + ": use the privatelink that wrote the lock file, or take this image with --update"},
		"another image":      {Repository, other, Repository + "@" + other + ": not found"},
		"another repository": {Host + "/agent", version, Host + "/agent:" + version + ": not found"},
	} {
		if _, err := s.Resolve(t.Context(), tc.repository, tc.name); !errors.Is(err, registry.ErrNotFound) || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestAProgramWithoutTheImage(t *testing.T) {
	if Layout() != nil {
		t.Fatal("the tests carry the image: run them without -tags webhookimage")
	}
	s := NewSource(registries{}, Layout())
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(""), Size: 0}
	_, err1 := s.Resolve(t.Context(), Repository, version)
	_, err2 := s.Manifest(t.Context(), Repository, d)
	_, err3 := s.Blob(t.Context(), Repository, d)
	_, err4 := s.HasBlob(t.Context(), Repository, d)
	for n, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, ErrNotCarried) {
			t.Errorf("call %d: %v", n, err)
		}
	}
}

// A damaged program must not put a damaged image into the registry.
func TestDamage(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
		is     error
	}{
		"a changed layer":    {change(mediaType(ocispec.MediaTypeImageLayer), flip), "does not match its digest", registry.ErrCorrupt},
		"a truncated layer":  {change(mediaType(ocispec.MediaTypeImageLayer), truncate), "has 2999 bytes and should have 3000", registry.ErrCorrupt},
		"a longer layer":     {change(mediaType(ocispec.MediaTypeImageLayer), extend), "has 3001 bytes and should have 3000", registry.ErrCorrupt},
		"a changed manifest": {change(mediaType(ocispec.MediaTypeImageManifest), flip), "is damaged: ", nil},
		"a missing manifest": {change(mediaType(ocispec.MediaTypeImageManifest), os.Remove), "not found", registry.ErrNotFound},
		"a missing layer":    {change(mediaType(ocispec.MediaTypeImageLayer), os.Remove), "not found", registry.ErrNotFound},
		"no index":           {func(t *testing.T, dir string) { remove(t, dir, ocispec.ImageIndexFile) }, "is damaged: ", nil},
		"no layout":          {func(t *testing.T, dir string) { remove(t, dir, ocispec.ImageLayoutFile) }, "is damaged: ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := writeLayout(t)
			tc.damage(t, dir)
			target := fakeregistry.Start(t).Host + "/castai/privatelink-webhook:" + version
			i := copyTo(t, NewSource(registries{}, os.DirFS(dir)), target)
			if i.State != mirror.StateFailed || !strings.Contains(fmt.Sprint(i.Err), tc.want) || tc.is != nil && !errors.Is(i.Err, tc.is) {
				t.Errorf("%s, %v, want %q", i.State, i.Err, tc.want)
			}
			if got := fakeregistry.Digest(t, target); got != "" {
				t.Errorf("the registry has %s", got)
			}
		})
	}
}

// mediaType returns a function that finds the blobs of a media type.
func mediaType(want string) func(t *testing.T, dir string) []digest.Digest {
	return func(t *testing.T, dir string) (found []digest.Digest) {
		t.Helper()
		blobs := filepath.Join(dir, "blobs", "sha256")
		entries, err := os.ReadDir(blobs)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(blobs, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			var document struct{ Manifests, Layers []ocispec.Descriptor }
			if json.Unmarshal(text, &document) != nil {
				continue // a layer
			}
			for _, d := range slices.Concat(document.Manifests, document.Layers) {
				if d.MediaType == want || want == ocispec.MediaTypeImageLayer && len(document.Layers) > 0 {
					found = append(found, d.Digest)
				}
			}
		}
		return found
	}
}

// change returns a function that changes the first of the blobs.
func change(find func(*testing.T, string) []digest.Digest, change func(file string) error) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		found := find(t, dir)
		if len(found) == 0 {
			t.Fatal("the layout has no such blob")
		}
		if err := change(filepath.Join(dir, "blobs", "sha256", found[0].Encoded())); err != nil {
			t.Fatal(err)
		}
	}
}

func edit(file string, change func([]byte) []byte) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(file), os.WriteFile(file, change(content), 0o600))
}

func flip(file string) error {
	return edit(file, func(b []byte) []byte {
		b[len(b)/2] ^= 1
		return b
	})
}

func truncate(file string) error { return edit(file, func(b []byte) []byte { return b[:len(b)-1] }) }

func extend(file string) error { return edit(file, func(b []byte) []byte { return append(b, 0) }) }

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// recorder is a source that records its calls.
type recorder struct{ calls []string }

func (r *recorder) Resolve(_ context.Context, repository, _ string) (ocispec.Descriptor, error) {
	r.calls = append(r.calls, "resolve "+repository)
	return ocispec.Descriptor{}, nil
}

func (r *recorder) Manifest(_ context.Context, repository string, _ ocispec.Descriptor) ([]byte, error) {
	r.calls = append(r.calls, "manifest "+repository)
	return nil, nil
}

func (r *recorder) Blob(_ context.Context, repository string, _ ocispec.Descriptor) (io.ReadCloser, error) {
	r.calls = append(r.calls, "blob "+repository)
	return nil, nil
}

func (r *recorder) HasBlob(_ context.Context, repository string, _ ocispec.Descriptor) (bool, error) {
	r.calls = append(r.calls, "hasBlob "+repository)
	return true, nil
}

func (r *recorder) Referrers(_ context.Context, repository string, _ ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	r.calls = append(r.calls, "referrers "+repository)
	return nil, nil
}

func TestOtherImagesComeFromRegistries(t *testing.T) {
	dir, _ := writeLayout(t)
	for host, isCarried := range map[string]bool{"ghcr.io": false, Host: true, Host + ":443": false, "x." + Host: false} {
		var r recorder
		s := NewSource(&r, os.DirFS(dir))
		repository := host + "/privatelink-webhook"
		d, err := s.Resolve(t.Context(), repository, version)
		if err != nil {
			t.Fatal(err)
		}
		if isCarried {
			_, err = s.Manifest(t.Context(), repository, d)
		} else {
			_, _ = s.Manifest(t.Context(), repository, d)
		}
		if err != nil {
			t.Fatal(err)
		}
		has, err := s.HasBlob(t.Context(), repository, d)
		if !has || err != nil {
			t.Errorf("%s: %t, %v", host, has, err)
		}
		body, err := s.Blob(t.Context(), repository, d)
		if err == nil && body != nil {
			err = body.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if all, err := s.Referrers(t.Context(), repository, d); len(all) > 0 || err != nil {
			t.Errorf("%s: referrers %v, %v", host, all, err)
		}
		want := []string{"resolve " + repository, "manifest " + repository, "hasBlob " + repository, "blob " + repository, "referrers " + repository}
		if isCarried {
			want = nil
		}
		if !slices.Equal(r.calls, want) || IsCarried(repository) != isCarried {
			t.Errorf("%s: calls %q, want %q; IsCarried is %t", host, r.calls, want, IsCarried(repository))
		}
	}
}

// The directive go:embed leaves out files whose names begin with a dot or an underscore. This builds a
// program with the tag, and compares what it carries with a layout that
// `make webhook-image` would have written.
func TestAProgramWithTheImage(t *testing.T) {
	dir, _ := writeLayout(t)
	folder, err := filepath.Abs("layout")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			overlay[filepath.Join(folder, name)] = filepath.Join(dir, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Hide the files of a layout that was built here.
	_ = fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
		file := filepath.Join(folder, name)
		if err == nil && !d.IsDir() && overlay[file] == "" {
			overlay[file] = ""
		}
		return nil
	})
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := errors.Join(err, os.WriteFile(file, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "test", "-vet=off", "-count=1", "-tags", "webhookimage", "-overlay", file, "-run", "^TestCarried$", "-v", ".")
	c.Env = append(os.Environ(), "WEBHOOK_LAYOUT="+dir)
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestCarried") {
		t.Errorf("%v\n%s", err, out)
	}
}
