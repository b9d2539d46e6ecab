// SPDX-License-Identifier: Apache-2.0

//go:build release

// Package release builds a release for this machine's platform, twice, as `make
// release-snapshot` does, and tests what a customer downloads. It builds the commit
// that is checked out.
package release

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/test/release/snapshot"
)

const root = "../.."

// built is a checkout with a release in it.
type built struct {
	dir     string
	version string // v0.2.0
	number  string // 0.2.0
	commit  string
	time    time.Time // of the commit
}

// released is the folder with what GoReleaser made.
func (b built) released(name string) string { return filepath.Join(b.dir, "dist", "release", name) }

// file finds a file of the release, as it is named in the list of checksums.
func (b built) file(t *testing.T, name string) string {
	t.Helper()
	for _, file := range []string{b.released(name), filepath.Join(b.dir, "dist", "inputs", "files", name)} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	t.Fatalf("%s is in the list of checksums and was not built", name)
	return ""
}

// checksums returns the list, by file.
func (b built) checksums(t *testing.T) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(read(t, b.released("checksums.txt")))); lines.Scan(); {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok || len(sum) != 64 || sums[name] != "" {
			t.Fatalf("checksums.txt: line %q", lines.Text())
		}
		sums[name] = sum
	}
	return sums
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// output runs a program and returns its standard output.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := snapshot.Output(t.Context(), dir, env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// build builds a release in dir.
func build(t *testing.T, b *snapshot.Builder, dir, umask string, env ...string) built {
	t.Helper()
	begin := time.Now()
	if err := b.Build(t.Context(), dir, umask, env...); err != nil {
		t.Fatal(err)
	}
	t.Logf("release built in %s", time.Since(begin).Round(time.Second))
	r := built{dir: dir, version: strings.TrimSpace(output(t, dir, nil, "make", "-s", "version")), commit: strings.TrimSpace(output(t, dir, nil, "git", "rev-parse", "HEAD"))}
	r.number = strings.TrimPrefix(r.version, "v")
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(output(t, dir, nil, "git", "log", "-1", "--format=%cI")))
	if err != nil {
		t.Fatal(err)
	}
	r.time = at
	return r
}

func TestRelease(t *testing.T) {
	if out := output(t, root, nil, "git", "status", "--porcelain"); out != "" {
		t.Fatalf("the release is built from the commit: commit or remove these changes first\n%s", out)
	}
	builder, err := snapshot.NewBuilder(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first := build(t, builder, filepath.Join(t.TempDir(), "a"), "022")

	t.Run("the archive has all files, with the time of the commit", first.testArchives)
	t.Run("programs record the commit, and nothing is modified", first.testPrograms)
	t.Run("SBOMs equal go version -m", first.testSBOMs)
	t.Run("the image of the command has the program of the archive", first.testImage)
	t.Run("the krew manifest names files that exist", first.testKrew)
	t.Run("install.yaml has the placeholder", first.testInstallYAML)
	t.Run("install.sh installs the archive, and refuses another", first.testInstallScript)
	t.Run("the source alone can be built", first.testSource)
	t.Run("signatures", first.testSignatures)

	t.Run("a second build is equal", func(t *testing.T) {
		// Another folder, empty caches, another time zone, user settings and minute. The
		// modules come from the first build's downloads.
		cache := t.TempDir()
		downloads := filepath.Join(strings.TrimSpace(output(t, root, nil, "go", "env", "GOMODCACHE")), "cache", "download")
		modules := filepath.Join(cache, "modules")
		defer output(t, root, []string{"GOMODCACHE=" + modules}, "go", "clean", "-modcache") // its files are read-only; in a cleanup the test's context has ended
		second := build(t, builder, filepath.Join(t.TempDir(), "another", "folder"), "077",
			"GOCACHE="+filepath.Join(cache, "go"), "GOMODCACHE="+modules, "GOPROXY=file://"+filepath.ToSlash(downloads), "GONOSUMDB=*", "GOSUMDB=off",
			"TZ=Pacific/Auckland", "LC_ALL=C", "HOME="+t.TempDir(), "USER=somebody")
		for _, name := range []string{"checksums.txt", filepath.Join("krew", "privatelink.yaml")} {
			if a, b := read(t, first.released(name)), read(t, second.released(name)); !bytes.Equal(a, b) {
				t.Errorf("%s differs:\n%s\n%s", name, a, b)
			}
		}
		for _, b := range []built{first, second} {
			b.testChecksums(t)
		}
		notes := filepath.Join("dist", "inputs", "notes.md")
		if !bytes.Equal(read(t, filepath.Join(first.dir, notes)), read(t, filepath.Join(second.dir, notes))) {
			t.Error("the notes differ")
		}
	})
}

// testChecksums compares each file with the list, and the list with what must be there.
func (b built) testChecksums(t *testing.T) {
	sums := b.checksums(t)
	platform := runtime.GOOS + "_" + runtime.GOARCH
	want := []string{
		"privatelink_" + b.number + "_" + platform + ".tar.gz", "privatelink_" + b.number + "_" + platform + ".spdx.json",
		"privatelink-webhook_" + b.number + "_image.tar", "privatelink-webhook_" + b.number + "_image.spdx.json",
		"privatelink_" + b.number + "_image.tar", "privatelink_" + b.number + "_image.spdx.json",
		"install.sh", "install.yaml", "privatelink-webhook-" + b.number + ".tgz",
	}
	for _, name := range want {
		if sums[name] == "" {
			t.Errorf("%s is not in the list of checksums", name)
		}
	}
	for name, sum := range sums {
		data := read(t, b.file(t, name))
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != sum {
			t.Errorf("%s has the checksum %s, and %s in the list", name, got, sum)
		}
		t.Logf("%9.1f MB  %s", float64(len(data))/1e6, name)
	}
}

// settings returns what a program records, as printed by go version -m.
func settings(t *testing.T, program string) (modules []string, values map[string]string) {
	t.Helper()
	values = map[string]string{}
	for line := range strings.Lines(output(t, root, nil, "go", "version", "-m", program)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "build":
			key, value, _ := strings.Cut(fields[1], "=")
			values[key] = value
		case len(fields) >= 3 && fields[0] == "mod":
			values["mod"] = fields[2]
		case len(fields) == 4 && fields[0] == "dep":
			modules = append(modules, strings.Join(fields[1:], " "))
		case len(fields) == 4 && fields[0] == "=>":
			modules[len(modules)-1] = strings.Join(fields[1:], " ")
		}
	}
	slices.Sort(modules)
	return modules, values
}

func (b built) testPrograms(t *testing.T) {
	dir := b.unpacked(t)
	platform := "linux-" + runtime.GOARCH
	for _, program := range []string{filepath.Join(dir, "privatelink"), filepath.Join(b.dir, "bin", platform, "privatelink"), filepath.Join(b.dir, "bin", platform, "privatelink-webhook")} {
		_, got := settings(t, program)
		if got["vcs.modified"] != "false" || got["vcs.revision"] != b.commit || got["CGO_ENABLED"] != "0" || got["-trimpath"] != "true" || strings.Contains(got["mod"], "+") {
			t.Errorf("%s: %v", program, got)
		}
	}
	var version struct {
		Version, Commit, Go, Platform, CatalogDate string
		Modified                                   bool
	}
	if err := json.Unmarshal([]byte(output(t, dir, nil, "./privatelink", "version", "-o", "json")), &version); err != nil {
		t.Fatal(err)
	}
	if version.Version != b.version || version.Commit != b.commit || version.Modified || version.Platform != runtime.GOOS+"/"+runtime.GOARCH || version.CatalogDate == "" || version.Go == "" {
		t.Errorf("%+v", version)
	}
}

// The zip of a module has the files of the commit: no generated one may be needed.
func (b built) testSource(t *testing.T) {
	dir := t.TempDir()
	output(t, b.dir, nil, "git", "archive", "--output="+filepath.Join(dir, "source.tar"), "HEAD")
	output(t, dir, nil, "tar", "-xf", "source.tar")
	output(t, dir, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-buildvcs=false", "-o", "bin/", "./cmd/...")
	if out := output(t, dir, nil, "bin/privatelink", "version"); out != "privatelink dev\n" {
		t.Errorf("%q", out)
	}
}
