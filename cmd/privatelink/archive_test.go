// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// inMemory is a real registry in this process.
func inMemory(t *testing.T) (host string) {
	t.Helper()
	s := httptest.NewServer(gcr.New(gcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func reference(t *testing.T, ref string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// public is a name for a registry of this machine that the rules do not take for
// one. net.Dial says that such an address means this machine.
func public(t *testing.T) (host string) {
	t.Helper()
	_, port, _ := strings.Cut(inMemory(t), ":")
	return "0.0.0.0:" + port
}

// pods writes a manifest with an image of random content at each reference.
func pods(t *testing.T, refs ...string) (file string) {
	t.Helper()
	var text strings.Builder
	for _, ref := range refs {
		index, err := random.Index(3000, 2, 2)
		if err == nil {
			err = remote.WriteIndex(reference(t, strings.Replace(ref, "0.0.0.0", "127.0.0.1", 1)), index)
		}
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: " + ref + "}]}\n")
	}
	return write(t, "pods.yaml", text.String())
}

func TestExportAndImport(t *testing.T) {
	from, to := public(t), inMemory(t)
	images := pods(t, from+"/castai/a:v1", from+"/castai/b:v1")
	dir := t.TempDir()
	file, locked := filepath.Join(dir, "images.tar"), filepath.Join(dir, "privatelink.lock.yaml")
	must := func(want int, args ...string) (stdout string) {
		t.Helper()
		code, stdout, stderr := call(t, nil, "", args...)
		if code != want {
			t.Fatalf("%v: code %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout
	}

	stdout := must(0, "export", "--registry", to+"/mirror", "--no-webhook-image", "--plain-http", from, "-f", images, "--to", file, "--lock", locked, "-o", "json")
	var s struct {
		Files                []any
		Bytes, Images, Blobs int64
	}
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	if s.Images != 2 || len(s.Files) != 1 || s.Bytes == 0 || s.Blobs != 12 {
		t.Errorf("%+v", s)
	}
	l, err := lock.Read(locked)
	if err != nil {
		t.Fatal(err)
	}
	imported := filepath.Join(dir, "imported.lock.yaml")
	if stdout := must(3, "import", "--registry", to+"/mirror", file, "--dry-run", "--lock", imported); !strings.Contains(stdout, "2 missing") {
		t.Error(stdout)
	}
	if _, err := os.Stat(imported); err == nil {
		t.Error("a dry run wrote the lock file")
	}
	must(0, "import", "--registry", to+"/mirror", file, "--lock", imported, "--verify")
	for _, i := range l.Images {
		if d, err := remote.Head(reference(t, i.Target)); err != nil || d.Digest.String() != i.Digest.String() {
			t.Errorf("%s is %v, %v", i.Target, d, err)
		}
	}
	got, err := lock.Read(imported)
	if err != nil || len(got.Images) != 2 || got.Images[0].Digest != l.Images[0].Digest {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWrongUseOfArchives(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no file to export to": {[]string{"export", "--registry", ecr}, "--to FILE"},
		"a bad size":           {[]string{"export", "--registry", ecr, "--to", "x", "--split", "4 G"}, "give a size such as"},
		"no older lock file":   {[]string{"export", "--registry", ecr, "--to", "x", "--since", filepath.Join(dir, "none.yaml")}, "--since"},
		"no file to import":    {[]string{"import", "--registry", ecr}, "accepts 1 arg"},
		"it does not exist":    {[]string{"import", "--registry", ecr, filepath.Join(dir, "none.tar")}, "none.tar"},
		"other platforms":      {[]string{"import", "--registry", ecr, "--platform", "linux/arm64", "x"}, "unknown flag: --platform"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t, nil, "", tc.args...)
			if code != 2 || !strings.Contains(stderr, tc.want) {
				t.Errorf("code %d, %s", code, stderr)
			}
		})
	}
}
