// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func client() *registry.Client { return registry.New(registry.Options{}) }

// index returns an image for two platforms, with a layer for each seed, and with
// attestations.
func index(t testing.TB, size int, seeds ...uint64) v1.ImageIndex {
	t.Helper()
	return fakeregistry.WithAttestations(t, fakeregistry.MultiArch(t, size, seeds...))
}

// pushReferrers attaches an SBOM, and a signature that has a tag.
func pushReferrers(t testing.TB, ref string) {
	t.Helper()
	fakeregistry.PushReferrer(t, ref, fakeregistry.Image(t, "unknown", fakeregistry.Layer(1000, 300)))
	fakeregistry.PushSignature(t, ref, fakeregistry.Image(t, "unknown", fakeregistry.Layer(1001, 200)))
}

// publish pushes images that share layers, and returns the jobs that copy them to a
// host.
func publish(t testing.TB, from *fakeregistry.Server, toHost string) []mirror.Job {
	t.Helper()
	fakeregistry.Push(t, from.Host+"/castai/agent:v1", index(t, 9000, 1, 2))
	fakeregistry.Push(t, from.Host+"/castai/agent:v2", index(t, 9000, 1, 3))
	fakeregistry.Push(t, from.Host+"/castai/hub/spot:v1", index(t, 5000, 1, 2, 4))
	pushReferrers(t, from.Host+"/castai/agent:v1")
	docker := fakeregistry.Image(t, "amd64", fakeregistry.Layer(2, 9000), fakeregistry.Layer(50, 1))
	fakeregistry.Push(t, from.Host+"/docker:v1", mutate.MediaType(mutate.ConfigMediaType(docker, types.DockerConfigJSON), types.DockerManifestSchema2))
	return targets(toHost, from.Host+"/castai/agent:v1", from.Host+"/castai/agent:v2", from.Host+"/castai/hub/spot:v1", from.Host+"/docker:v1")
}

func targets(host string, sources ...string) (jobs []mirror.Job) {
	for _, s := range sources {
		_, path, _ := strings.Cut(s, "/")
		jobs = append(jobs, mirror.Job{Source: s, Target: host + "/mirror/" + path, Why: []string{"a test"}})
	}
	return jobs
}

func content(t testing.TB, jobs []mirror.Job) *mirror.Content {
	t.Helper()
	m := &mirror.Mirror{Source: client(), Referrers: true}
	c, err := m.ReadContent(context.Background(), jobs, rewrite.RegistryHost(jobs[0].Target), nil)
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

// importArchive imports an archive to the targets of its lock.
func importArchive(t *testing.T, a *archive.Archive, to archive.Registry) error {
	t.Helper()
	return importToHost(t, a, to, "")
}

// importToHost imports an archive to another host, if host is set.
func importToHost(t *testing.T, a *archive.Archive, to archive.Registry, host string) error {
	t.Helper()
	locate := func(_, target string) (string, error) {
		if host != "" {
			target = host + strings.TrimPrefix(target, rewrite.RegistryHost(target))
		}
		return target, nil
	}
	source, target, err := a.ImportEndpoints(t.Context(), to, locate)
	if err != nil {
		return err
	}
	var images []mirror.Job
	for _, i := range a.Lock().Images {
		ref, _ := locate(i.Source, i.Target)
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

// verifyImage reads all layers; the client verifies their digests.
func verifyImage(i v1.Image) error {
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

func readFile(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func removeFile(t testing.TB, file string) {
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
		writeFile(t, name, text)
	}
}

// fileNames lists a directory.
func fileNames(t *testing.T, dir string) (all []string) {
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
