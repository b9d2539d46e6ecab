// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
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
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// buildBinary compiles a static program in place of the server.
func buildBinary(t *testing.T, arch string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "server-"+arch)
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, source)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// buildTwice builds the same image twice, into one folder, and returns it.
func buildTwice(t *testing.T, args ...string) (dir string, index v1.ImageIndex) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "new", "layout")
	args = append(args, "--version", "v0.1.0", "--layout", dir)
	var outputs [2]bytes.Buffer
	var files [2]map[string]string
	for i := range outputs {
		if err := run(t.Context(), args, &outputs[i]); err != nil {
			t.Fatal(err)
		}
		files[i] = readAll(t, dir)
		// A file of another image must not remain.
		if err := os.WriteFile(filepath.Join(dir, "blobs", "stale"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(files[0], files[1]); diff != "" || outputs[0].String() != outputs[1].String() {
		t.Errorf("two builds of the same binaries: %q and %q\n%s", &outputs[0], &outputs[1], diff)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "v0.1.0" {
		t.Fatalf("index.json %+v, %v", manifest, err)
	}
	if index, err = index.ImageIndex(manifest.Manifests[0].Digest); err != nil {
		t.Fatal(err)
	}
	return dir, index
}

// readAll returns the content of all files in a folder.
func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files[name] = string(read(t, filepath.Join(dir, name)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// images returns the images of an index by platform, of which there is no other.
func images(t *testing.T, index v1.ImageIndex) map[string]v1.Image {
	t.Helper()
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]v1.Image{}
	var platforms []string
	for _, d := range manifest.Manifests {
		platforms = append(platforms, d.Platform.String())
		if all[d.Platform.Architecture], err = index.Image(d.Digest); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(platforms, want) {
		t.Errorf("platforms %q, want %q", platforms, want)
	}
	return all
}

func TestImageOfTheServer(t *testing.T) {
	files := map[string]string{"amd64": buildBinary(t, "amd64"), "arm64": buildBinary(t, "arm64")}
	dir, index := buildTwice(t, "--binary", "amd64="+files["amd64"], "--binary", "arm64="+files["arm64"], "--port", "9443,8080")
	for arch, image := range images(t, index) {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c := config.Config
		if c.User != "65532:65532" || c.Entrypoint[0] != "/privatelink-webhook" || len(c.ExposedPorts) != 2 || c.WorkingDir != "/" || config.Architecture != arch {
			t.Errorf("%s: config %+v", arch, config)
		}
		entries := layer(t, image)
		if h := entries[0].Header; len(entries) != 1 || h.Name != "privatelink-webhook" || h.Mode != 0o555 || h.Uid != 0 || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%s: entries %+v", arch, entries)
		}
		if want := read(t, files[arch]); !bytes.Equal(entries[0].content, want) {
			t.Errorf("%s: the file in the image has %d bytes, the binary has %d", arch, len(entries[0].content), len(want))
		}
	}

	// A registry and an archive get the same image.
	ref := fakeregistry.Start(t).Host + "/castai/privatelink-webhook:v0.1.0"
	file := filepath.Join(t.TempDir(), "image.tar")
	args := []string{"--version", "v0.1.0", "--push", ref, "--out", file, "--binary", "amd64=" + files["amd64"], "--binary", "arm64=" + files["arm64"], "--port", "9443,8080"}
	if err := run(t.Context(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if got := fakeregistry.Digest(t, ref); err != nil || got != digest.String() {
		t.Errorf("the registry has %s, want %s; %v", got, digest, err)
	}
	repository := fakeregistry.Start(t).Host + "/castai/privatelink-webhook"
	args = append([]string{"--push-untagged", repository, "--version", "v0.1.0"}, args[len(args)-6:]...)
	var printed bytes.Buffer
	if err := run(t.Context(), args, &printed); err != nil {
		t.Fatal(err)
	}
	byDigest := repository + "@" + digest.String()
	if got, tagged := fakeregistry.Digest(t, byDigest), fakeregistry.Digest(t, repository+":v0.1.0"); got != digest.String() || tagged != "" {
		t.Errorf("without a tag, the registry has %s, and %s under the tag", got, tagged)
	}
	if want := digest.String() + "  " + byDigest + "\n"; printed.String() != want {
		t.Errorf("printed %q, want %q", &printed, want)
	}
	archived := map[string]string{}
	for _, e := range untar(t, bytes.NewReader(read(t, file))) {
		archived[e.Name] = string(e.content)
	}
	want := readAll(t, dir)
	delete(want, "blobs/stale")
	if diff := cmp.Diff(want, archived); diff != "" {
		t.Errorf("archive: -layout +archive\n%s", diff)
	}
}

// The command writes files, and no image that it is FROM has folders for them.
func TestImageOfTheCommand(t *testing.T) {
	_, index := buildTwice(t, "--name", "privatelink", "--writable", "--binary", "amd64="+buildBinary(t, "amd64"), "--binary", "arm64="+buildBinary(t, "arm64"))
	for arch, image := range images(t, index) {
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if c := config.Config; c.User != "65532:65532" || c.Entrypoint[0] != "/privatelink" || c.ExposedPorts != nil || c.WorkingDir != "/work" || c.Labels["org.opencontainers.image.title"] != "privatelink" {
			t.Errorf("%s: config %+v", arch, c)
		}
		var got []string
		for _, e := range layer(t, image) {
			got = append(got, fmt.Sprintf("%s %o %d:%d", e.Name, e.Mode, e.Uid, e.Gid))
		}
		if want := []string{"tmp/ 1777 0:0", "work/ 755 65532:65532", "privatelink 555 0:0"}; !slices.Equal(got, want) {
			t.Errorf("%s: entries %q, want %q", arch, got, want)
		}
	}
}

// entry is a file of a tar archive.
type entry struct {
	*tar.Header
	content []byte
}

// layer returns the files of the only layer of an image.
func layer(t *testing.T, image v1.Image) []entry {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v; want one", len(layers), err)
	}
	in, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	return untar(t, in)
}

func untar(t *testing.T, in io.Reader) (all []entry) {
	t.Helper()
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		content, err2 := io.ReadAll(r)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{h, content})
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestErrors(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"not a binary":                      {[]string{"--binary", "amd64=" + text, "--out", text + ".tar"}, "not a Linux binary"},
		"a binary for another architecture": {[]string{"--binary", "arm64=" + buildBinary(t, "amd64"), "--out", text + ".tar"}, "not for arm64"},
		"no output":                         {[]string{"--binary", "amd64=" + text}, "--push"},
		"no binary":                         {[]string{"--layout", text + ".tar"}, "--binary"},
		"an invalid reference":              {[]string{"--binary", "amd64=" + buildBinary(t, "amd64"), "--push", "X Y"}, "X Y: "},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), tc.args, io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v does not contain %q", err, tc.want)
			}
			if _, err := os.Stat(text + ".tar"); err == nil {
				t.Error("an incomplete archive was not removed")
			}
		})
	}
}
