// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	spdxjson "github.com/spdx/tools-golang/json"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// epoch is the time of the documents.
func epoch(string) string { return "1795860000" }

// write runs the tool and reads its document with the library.
func write(t *testing.T, args ...string) (*spdx.Document, []byte) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "a.spdx.json")
	if err := run(append([]string{"--version", "v0.1.0", "--out", out}, args...), epoch); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	doc := &spdx.Document{}
	if err := spdxjson.ReadInto(bytes.NewReader(text), doc); err != nil {
		t.Fatal(err)
	}
	return doc, text
}

// program is a Go program with modules: this test.
func program(t *testing.T) string {
	t.Helper()
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// listed returns path, version and hash of each module as `go version -m` prints it.
func listed(t *testing.T, file string) (modules []string) {
	t.Helper()
	out, err := exec.Command("go", "version", "-m", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 4 && fields[0] == "dep":
			modules = append(modules, strings.Join(fields[1:], " "))
		case len(fields) == 4 && fields[0] == "=>":
			modules[len(modules)-1] = strings.Join(fields[1:], " ")
		}
	}
	if len(modules) < 5 {
		t.Fatalf("only %d modules: the output is read wrongly\n%s", len(modules), out)
	}
	slices.Sort(modules)
	return modules
}

// related returns what a package contains or depends on, by the kind of relationship.
func related(doc *spdx.Document, from *spdx.Package, kind string) (packages []*spdx.Package) {
	for _, r := range doc.Relationships {
		if r.Relationship != kind || r.RefA.ElementRefID != from.PackageSPDXIdentifier {
			continue
		}
		for _, p := range doc.Packages {
			if p.PackageSPDXIdentifier == r.RefB.ElementRefID {
				packages = append(packages, p)
			}
		}
	}
	return packages
}

// modules returns those of a program in the form of listed, without Go's own.
func modules(doc *spdx.Document, program *spdx.Package) (all []string) {
	for _, p := range related(doc, program, dependsOn) {
		if p.PackageName != "stdlib" {
			all = append(all, p.PackageName+" "+p.PackageVersion+" "+strings.TrimPrefix(p.PackageSourceInfo, "go.sum: "))
		}
	}
	slices.Sort(all)
	return all
}

func described(t *testing.T, doc *spdx.Document) *spdx.Package {
	t.Helper()
	root := related(doc, &spdx.Package{PackageSPDXIdentifier: "DOCUMENT"}, "DESCRIBES")
	if len(root) != 1 {
		t.Fatalf("the document describes %d packages", len(root))
	}
	return root[0]
}

func TestTheModulesAreThoseOfTheProgram(t *testing.T) {
	doc, text := write(t, program(t))
	root := described(t, doc)
	if diff := cmp.Diff(listed(t, program(t)), modules(doc, root)); diff != "" {
		t.Errorf("the document differs from go version -m:\n%s", diff)
	}
	if root.PackageVersion != "v0.1.0" || len(root.PackageChecksums) != 1 || doc.CreationInfo.Created != "2026-11-28T10:00:00Z" {
		t.Errorf("%+v, created %s", root, doc.CreationInfo.Created)
	}
	for _, p := range doc.Packages {
		if len(p.PackageExternalReferences) != 1 || !strings.HasPrefix(p.PackageExternalReferences[0].Locator, "pkg:golang/") || strings.Contains(p.PackageExternalReferences[0].Locator, "+") {
			t.Errorf("%s: package URL %+v", p.PackageName, p.PackageExternalReferences)
		}
	}
	if _, again := write(t, program(t)); !bytes.Equal(text, again) {
		t.Error("two documents of one program differ")
	}
}

// archive writes an OCI archive of an index with the program for two platforms.
func archive(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "server", Mode: 0o555, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	index := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: v1.Config{Labels: map[string]string{title: "server"}}})
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, static.NewLayer(layer.Bytes(), types.OCIUncompressedLayer)); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "server.tar")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(out)
	if err := errors.Join(tw.AddFS(os.DirFS(dir)), tw.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnImageContainsItsPlatformsAndTheirPrograms(t *testing.T) {
	doc, _ := write(t, archive(t))
	root := described(t, doc)
	platforms := related(doc, root, contained)
	if len(platforms) != 2 || root.PrimaryPackagePurpose != "CONTAINER" {
		t.Fatalf("%d platforms, %+v", len(platforms), root)
	}
	for _, p := range platforms {
		programs := related(doc, p, contained)
		if len(programs) != 1 {
			t.Fatalf("%d programs", len(programs))
		}
		if diff := cmp.Diff(listed(t, program(t)), modules(doc, programs[0])); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAProgramContainsTheImageThatItEmbeds(t *testing.T) {
	doc, _ := write(t, "--contains", archive(t), program(t))
	images := related(doc, described(t, doc), contained)
	if len(images) != 1 || images[0].PackageName != "server" {
		t.Fatalf("%+v", images)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	text, evil := filepath.Join(dir, "text"), filepath.Join(dir, "evil.tar")
	if err := os.WriteFile(text, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "../outside", Typeflag: tar.TypeReg}), w.Close(), os.WriteFile(evil, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.spdx.json")
	for name, tc := range map[string]struct {
		args []string
		env  func(string) string
		want string
	}{
		"not a program":               {[]string{"--version", "v1", "--out", out, text}, epoch, "text: read the modules"},
		"no such file":                {[]string{"--version", "v1", "--out", out, filepath.Join(dir, "none")}, epoch, "no such file"},
		"no version":                  {[]string{"--out", out, text}, epoch, "required"},
		"no time":                     {[]string{"--version", "v1", "--out", out, text}, func(string) string { return "" }, "SOURCE_DATE_EPOCH"},
		"an archive that leaves":      {[]string{"--version", "v1", "--out", out, evil}, epoch, "../outside"},
		"an archive without an image": {[]string{"--version", "v1", "--out", out, text + ".tar"}, epoch, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(tc.args, tc.env); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v does not contain %q", err, tc.want)
			}
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a document was written")
			}
		})
	}
	var raw map[string]any
	if _, text := write(t, program(t)); json.Unmarshal(text, &raw) != nil || raw["spdxVersion"] != "SPDX-2.3" {
		t.Errorf("spdxVersion %v", raw["spdxVersion"])
	}
}
