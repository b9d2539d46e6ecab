// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func client() *registry.Client { return registry.New(registry.Options{}) }

// layer has content that a seed decides.
func layer(seed uint64, size int) v1.Layer {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return static.NewLayer(b, types.OCILayer)
}

func image(t testing.TB, arch string, layers ...v1.Layer) v1.Image {
	t.Helper()
	i, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"}})
	if err == nil {
		i, err = mutate.AppendLayers(mutate.ConfigMediaType(i, types.OCIConfigJSON), layers...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// index makes an image for two platforms with the layers of the seeds, and an
// attestation.
func index(t testing.TB, size int, seeds ...uint64) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for n, arch := range []string{"amd64", "arm64"} {
		var layers []v1.Layer
		for _, seed := range seeds {
			layers = append(layers, layer(2*seed+uint64(n), size))
		}
		i := image(t, arch, layers...)
		d, err := i.Digest()
		if err != nil {
			t.Fatal(err)
		}
		attestation := image(t, "unknown", static.NewLayer([]byte(`{"about":"`+d.String()+`"}`), "application/vnd.in-toto+json"))
		index = mutate.AppendManifests(index,
			mutate.IndexAddendum{Add: i, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}},
			mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
				Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": d.String()}}})
	}
	return index
}

func parse(t testing.TB, ref string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func push(t testing.TB, ref string, index v1.ImageIndex) {
	t.Helper()
	if err := remote.WriteIndex(parse(t, ref), index); err != nil {
		t.Fatal(err)
	}
}

// refer attaches a referrer, and a signature under a tag.
func refer(t testing.TB, ref string) {
	t.Helper()
	r := parse(t, ref)
	d, err := remote.Head(r)
	if err != nil {
		t.Fatal(err)
	}
	sbom := mutate.Subject(image(t, "unknown", layer(1000, 300)), *d).(v1.Image)
	of, err := sbom.Digest()
	if err == nil {
		err = remote.Write(r.Context().Digest(of.String()), sbom)
	}
	if err == nil {
		err = remote.Write(r.Context().Tag(strings.Replace(d.Digest.String(), ":", "-", 1)+".sig"), image(t, "unknown", layer(1001, 200)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// publish pushes images that share layers, and says where they are to go.
func publish(t testing.TB, from, to *server) []mirror.Job {
	t.Helper()
	push(t, from.host+"/castai/agent:v1", index(t, 9000, 1, 2))
	push(t, from.host+"/castai/agent:v2", index(t, 9000, 1, 3))
	push(t, from.host+"/castai/hub/spot:v1", index(t, 5000, 1, 2, 4))
	refer(t, from.host+"/castai/agent:v1")
	if err := remote.Write(parse(t, from.host+"/docker:v1"), mutate.MediaType(mutate.ConfigMediaType(image(t, "amd64", layer(2, 9000), layer(50, 1)), types.DockerConfigJSON), types.DockerManifestSchema2)); err != nil {
		t.Fatal(err)
	}
	return targets(to, from.host+"/castai/agent:v1", from.host+"/castai/agent:v2", from.host+"/castai/hub/spot:v1", from.host+"/docker:v1")
}

func targets(to *server, sources ...string) (all []mirror.Job) {
	for _, s := range sources {
		_, path, _ := strings.Cut(s, "/")
		all = append(all, mirror.Job{Source: s, Target: to.host + "/mirror/" + path, Why: []string{"a test"}})
	}
	return all
}

func content(t testing.TB, images []mirror.Job) *mirror.Content {
	t.Helper()
	m := &mirror.Mirror{Source: client(), Referrers: true}
	c, err := m.ReadContent(context.Background(), images, rewrite.RegistryHost(images[0].Target), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t testing.TB, c *mirror.Content, o archive.WriteOptions) archive.Summary {
	t.Helper()
	o.Progress = &mirror.Progress{}
	s, err := archive.Write(context.Background(), c, client(), o)
	if err != nil {
		t.Fatal(err)
	}
	if done, total := o.Progress.Done.Load(), o.Progress.Total.Load(); done != total || total != s.Fetched+s.Kept || total == 0 {
		t.Errorf("progress ends at %d of %d bytes, %d of them fetched and %d kept", done, total, s.Fetched, s.Kept)
	}
	return s
}

func open(t testing.TB, file string) *archive.Archive {
	t.Helper()
	a, err := archive.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// load imports an archive to where its lock says.
func load(t *testing.T, a *archive.Archive, to archive.Registry) error {
	t.Helper()
	return loadTo(t, a, to, "")
}

// loadTo imports to another host.
func loadTo(t *testing.T, a *archive.Archive, to archive.Registry, host string) error {
	t.Helper()
	place := func(_, target string) (string, error) {
		if host != "" {
			target = host + strings.TrimPrefix(target, rewrite.RegistryHost(target))
		}
		return target, nil
	}
	source, target, err := a.ImportEndpoints(t.Context(), to, place)
	if err != nil {
		return err
	}
	var images []mirror.Job
	for _, i := range a.Lock().Images {
		ref, _ := place(i.Source, i.Target)
		images = append(images, mirror.Job{Source: i.Source, Target: ref, Locked: &mirror.Locked{Digest: i.Digest}})
	}
	var warnings []error
	var mu sync.Mutex
	m := &mirror.Mirror{Source: source, Target: target, Referrers: true, Events: func(e mirror.Event) {
		if e.Kind == mirror.EventWarning {
			mu.Lock()
			defer mu.Unlock()
			warnings = append(warnings, errors.New(e.Message))
		}
	}}
	p, err := m.Plan(t.Context(), images)
	if err != nil {
		return err
	}
	if err := m.Run(t.Context(), p, nil); err != nil {
		return err
	}
	for _, i := range p.Items {
		if i.Err != nil {
			warnings = append(warnings, i.Err)
		}
	}
	return errors.Join(warnings...)
}

// digestOf asks a registry with another client than ours.
func digestOf(t testing.TB, ref string) string {
	t.Helper()
	d, err := remote.Head(parse(t, ref))
	if err != nil {
		return "none: " + err.Error()
	}
	return d.Digest.String()
}

// whole reads an image, every blob of it, with another client than ours.
func whole(t *testing.T, ref string) {
	t.Helper()
	d, err := remote.Get(parse(t, ref))
	if err != nil {
		t.Fatal(err)
	}
	if d.MediaType.IsImage() {
		i, err := d.Image()
		if err == nil {
			err = sound(i)
		}
		if err != nil {
			t.Errorf("%s: %v", ref, err)
		}
		return
	}
	i, err := d.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	m, err := i.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		image, err := i.Image(d.Digest)
		if err == nil {
			err = sound(image)
		}
		if err != nil {
			t.Errorf("%s: %s: %v", ref, d.Digest, err)
		}
	}
}

// sound reads all layers: the client checks their digests.
func sound(i v1.Image) error {
	if err := validate.Image(i, validate.Fast); err != nil {
		return err
	}
	layers, err := i.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

func referrersOf(t *testing.T, ref string) (digests []string) {
	t.Helper()
	r := parse(t, ref)
	index, err := remote.Referrers(r.Context().Digest(digestOf(t, ref)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		digests = append(digests, d.Digest.String())
	}
	slices.Sort(digests)
	return digests
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, name, text)
	}
}

// names lists a folder.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}
