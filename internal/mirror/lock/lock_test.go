// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const prefix = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

func sample() *Lock {
	return &Lock{APIVersion: APIVersion, Kind: Kind, Registry: prefix, Images: []Entry{
		{Source: "ghcr.io/castai/images/agent:v1", Target: prefix + "/agent:v1", Digest: digest.FromString("a"), MediaType: "application/vnd.oci.image.index.v1+json", Size: 7, Platforms: []string{"linux/amd64"}, Why: []string{"set phase1"}},
		{Source: "docker.io/library/busybox:1", Target: prefix + "/docker.io/library/busybox:1", Digest: digest.FromString("b"), SourceDigest: digest.FromString("c"), MediaType: "m", Referrers: []digest.Digest{digest.FromString("d")}},
	}}
}

func TestWriteAndRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), DefaultFile)
	l := sample()
	for range 2 { // the second replaces the first
		if err := l.Write(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	l.Images[0], l.Images[1] = l.Images[1], l.Images[0] // by source
	if !reflect.DeepEqual(got, l) {
		t.Errorf("got  %+v\nwant %+v", got, l)
	}
	rewritten, err := got.Marshal()
	text, _ := os.ReadFile(file)
	if err != nil || string(rewritten) != string(text) {
		t.Errorf("%v\n%s\n%s", err, rewritten, text)
	}
	files, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(files) != 1 {
		t.Errorf("%v %v: temporary files remain", err, files)
	}
	if i, ok := got.Lookup("us-docker.pkg.dev/castai-hub/library/agent:v1", prefix+"/agent:v1"); !ok || i.Size != 7 {
		t.Errorf("%v %+v", ok, i)
	}
	if got := (&Lock{Images: got.Images[:1]}).RemovedSince(got); len(got) != 1 || got[0] != "ghcr.io/castai/images/agent:v1" {
		t.Errorf("removed: %v", got)
	}
	var none *Lock
	if _, ok := none.Lookup("x", "y"); ok || l.RemovedSince(none) != nil {
		t.Error("a nil lock has entries")
	}
}

func TestAWriteThatFailsLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	if err := sample().Write(filepath.Join(dir, "no", "folder")); err == nil {
		t.Error("no error without a folder")
	}
	// A folder cannot be replaced by a file.
	if err := os.MkdirAll(filepath.Join(dir, "taken", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(filepath.Join(dir, "taken")); err == nil {
		t.Error("no error")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%v: temporary files remain", files)
	}
}

func TestInvalidFiles(t *testing.T) {
	text, err := sample().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	for name, tc := range map[string]struct{ old, new, want string }{
		"no YAML":                 {good, "a: [", "l.yaml: "},
		"an unknown key":          {"size: 7", "sice: 7", "field sice not found"},
		"another kind":            {"kind: Lock", "kind: Config", "not privatelink.cast.ai/v1alpha1 Lock"},
		"no registry":             {"registry: " + prefix, "registry: \"\"", "registry is missing"},
		"no target":               {"target: " + prefix + "/agent:v1", "target: \"\"", "images[1]: source and target are required"},
		"an invalid digest":       {digest.FromString("a").String(), "sha256:12", `images[1].digest "sha256:12"`},
		"another registry":        {"target: " + prefix + "/agent:v1", "target: quay.io/agent:v1", "not below the registry"},
		"one target, two digests": {"target: " + prefix + "/agent:v1", "target: " + prefix + "/docker.io/library/busybox:1", "has another digest in images[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("l.yaml", []byte(strings.Replace(good, tc.old, tc.new, 1)))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "l.yaml") {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	text, err := sample().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Parse("f", text)
		if err != nil {
			return
		}
		rewritten, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("f", rewritten); err != nil {
			t.Errorf("the written file cannot be read: %v\n%s", err, rewritten)
		}
	})
}
