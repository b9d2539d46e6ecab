// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

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

func TestPush(t *testing.T) {
	ref := fakeregistry.Start(t).Host + "/castai/privatelink-webhook:v0.1.0"
	files := map[string]string{"amd64": buildBinary(t, "amd64"), "arm64": buildBinary(t, "arm64")}
	args := []string{"--version", "v0.1.0", "--push", ref, "--binary", "amd64=" + files["amd64"], "--binary", "arm64=" + files["arm64"]}
	var first, second bytes.Buffer
	if err := run(t.Context(), args, &first); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), args, &second); err != nil || first.String() != second.String() {
		t.Errorf("two builds of the same binaries: %q and %q, %v", first.String(), second.String(), err)
	}
	for arch, file := range files {
		r, err := name.ParseReference(ref)
		if err != nil {
			t.Fatal(err)
		}
		image, err := remote.Image(r, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != entrypoint || config.Architecture != arch {
			t.Errorf("%s: config %+v", arch, config.Config)
		}
		if got, want := onlyFile(t, image), read(t, file); !bytes.Equal(got, want) {
			t.Errorf("%s: the file in the image has %d bytes, the binary has %d", arch, len(got), len(want))
		}
	}
}

func onlyFile(t *testing.T, image v1.Image) []byte {
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
	r := tar.NewReader(in)
	h, err := r.Next()
	if err != nil || "/"+h.Name != entrypoint || h.Mode != 0o555 {
		t.Fatalf("first entry %+v, %v", h, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatalf("a second entry, %v", err)
	}
	return data
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestArchive(t *testing.T) {
	dir, file := t.TempDir(), buildBinary(t, "amd64")
	var archives [2][]byte
	for i := range archives {
		out := filepath.Join(dir, "image.tar")
		if err := run(t.Context(), []string{"--binary", "amd64=" + file, "--out", out}, io.Discard); err != nil {
			t.Fatal(err)
		}
		archives[i] = read(t, out)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two builds of the same binary differ")
	}
	names := map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(archives[0])); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = true
	}
	if !names["oci-layout"] || !names["index.json"] {
		t.Errorf("not an OCI layout: %v", names)
	}
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
		"neither archive nor registry":      {[]string{"--binary", "amd64=" + text}, "--push"},
		"an invalid reference":              {[]string{"--binary", "amd64=" + buildBinary(t, "amd64"), "--push", "X Y"}, "push X Y"},
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
