// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkout is a repository whose module requires the first version, with module
// files for the others.
func checkout(t *testing.T, versions ...string) (root string) {
	t.Helper()
	root = t.TempDir()
	for i, v := range versions {
		file := filepath.Join(sourceDir(root), "go")
		if i > 0 {
			file = filepath.Join(sourceDir(root), "versions", minorOf(v))
		}
		write(t, file+".mod", fmt.Sprintf("module m\n\nrequire (\n\tk8s.io/kubernetes %s\n\tgo.etcd.io/etcd/server/v3 v3.9.1\n)\n", v))
		write(t, file+".sum", "")
	}
	return root
}

func module(t *testing.T, versions ...string) (source string) {
	t.Helper()
	return sourceDir(checkout(t, versions...))
}

// built leaves in the cache what a build of that version leaves there, but for
// the minutes: each program holds its version.
func built(t *testing.T, root, version string) (bin string) {
	t.Helper()
	r, err := choose(sourceDir(root), minorOf(version))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := fingerprint(sourceDir(root), r)
	if err != nil {
		t.Fatal(err)
	}
	bin = filepath.Join(cacheDir(root), version+"-"+sum)
	for _, name := range programs() {
		write(t, filepath.Join(bin, name), version)
	}
	return bin
}

func TestTheVersionIsChosenByItsMinor(t *testing.T) {
	source := module(t, "v1.99.2", "v1.98.1", "v1.100.0", "v1.9.5")
	for minor, want := range map[string]release{
		"":      {"go.mod", "v1.99.2", "v3.9.1"},
		"1.99":  {"go.mod", "v1.99.2", "v3.9.1"},
		"1.98":  {"versions/1.98.mod", "v1.98.1", "v3.9.1"},
		"1.100": {"versions/1.100.mod", "v1.100.0", "v3.9.1"},
	} {
		if got, err := choose(source, minor); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", minor, got, err, want)
		}
	}
	for _, unknown := range []string{"1.97", "98", "v1.98", "1.98.1", "1.", "../go", "latest"} {
		_, err := choose(source, unknown)
		if err == nil || !strings.Contains(err.Error(), "K8S="+unknown+": unknown version") || !strings.Contains(err.Error(), "known are 1.9, 1.98, 1.100, 1.99 (the default)") {
			t.Errorf("%q: error %v, want one with the known versions in their order", unknown, err)
		}
	}
}

func TestWhatIsWrongWithTheModuleFilesIsSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		file, text string // what is put in place of a good one; no text: the file is gone
		minor      string
		want       string
	}{
		"without the default's module file":            {"go.mod", "", "1.98", "no such file"},
		"a default that requires no Kubernetes":        {"go.mod", "module m\n", "", "go get -modfile=go.mod k8s.io/kubernetes@VERSION"},
		"without the default's sums":                   {"go.sum", "", "", "go mod tidy -modfile=go.mod"},
		"a version that requires no Kubernetes":        {"versions/1.98.mod", "module m\n", "1.98", "go get -modfile=versions/1.98.mod k8s.io/kubernetes@VERSION"},
		"a version without its sums":                   {"versions/1.98.sum", "", "1.98", "lacks 1.98.sum next to it: run `go mod tidy -modfile=versions/1.98.mod`"},
		"a version that requires another one":          {"versions/1.98.mod", "require (\n\tk8s.io/kubernetes v1.97.1\n)", "1.98", "requires Kubernetes v1.97.1: rename it"},
		"without the folder only the default is known": {"versions", "", "1.98", "known are 1.99 (the default)"},
	} {
		t.Run(name, func(t *testing.T) {
			source := module(t, "v1.99.1", "v1.98.1")
			if tc.text != "" {
				write(t, filepath.Join(source, tc.file), tc.text)
			} else if err := os.RemoveAll(filepath.Join(source, tc.file)); err != nil {
				t.Fatal(err)
			}
			if _, err := choose(source, tc.minor); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestBuildHonoursTheVersionAskedFor(t *testing.T) {
	root := checkout(t, "v1.99.1", "v1.98.7")
	want := map[string]string{}
	for _, v := range []string{"v1.99.1", "v1.98.7"} {
		want[minorOf(v)] = built(t, root, v)
	}
	want[""] = want["1.99"]
	t.Setenv("KUBEBUILDER_ASSETS", "")
	for minor, bin := range want {
		t.Setenv("K8S", minor)
		if got, err := Build(t.Context(), root, nil); err != nil || got != bin {
			t.Errorf("K8S=%s: Build = %q, %v, want %q", minor, got, err, bin)
		}
	}
	if want["1.99"] == want["1.98"] {
		t.Error("both versions are in one folder")
	}
	t.Setenv("K8S", "1.97")
	for name, build := range map[string]func() (string, error){
		"Build":     func() (string, error) { return Build(t.Context(), root, nil) },
		"BuildNode": func() (string, error) { return BuildNode(t.Context(), root, nil) },
	} {
		if _, err := build(); err == nil || !strings.Contains(err.Error(), "known are 1.98, 1.99 (the default)") {
			t.Errorf("%s with an unknown version: %v, want an error with the known ones", name, err)
		}
	}
}

// Released programs have a version already.
func TestReleasedProgramsAndAVersionExcludeEachOther(t *testing.T) {
	assets := t.TempDir()
	for _, name := range programs() {
		write(t, filepath.Join(assets, name), "")
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	t.Setenv("K8S", "1.99")
	_, err := Build(t.Context(), checkout(t, "v1.99.1"), nil)
	if err == nil || !strings.Contains(err.Error(), "unset one of them") || !strings.Contains(err.Error(), assets) || !strings.Contains(err.Error(), "K8S=1.99") {
		t.Errorf("error %v, want one that names both", err)
	}
}

// A version in which one library is of another release compiles now and then,
// and is no Kubernetes.
func TestTheModuleFilesAreOfOneRelease(t *testing.T) {
	root, err := findRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	source := sourceDir(root)
	minors, err := versions(source)
	if err != nil || len(minors) == 0 {
		t.Fatalf("versions %v, %v", minors, err)
	}
	staged := regexp.MustCompile(`(?m)^\t(k8s\.io/\S+) => (\S+) (\S+)$`)
	for _, minor := range append(minors, "") {
		r, err := choose(source, minor)
		if err != nil {
			t.Error(err)
			continue
		}
		text, err := os.ReadFile(filepath.Join(source, r.modfile))
		if err != nil {
			t.Fatal(err)
		}
		lines := staged.FindAllStringSubmatch(string(text), -1)
		if len(lines) < 30 {
			t.Errorf("%s: only %d libraries of Kubernetes are replaced", r.modfile, len(lines))
		}
		for _, l := range lines {
			if want := "v0" + strings.TrimPrefix(r.version, "v1"); l[1] != l[2] || l[3] != want {
				t.Errorf("%s: %s is replaced by %s %s, want its %s", r.modfile, l[1], l[2], l[3], want)
			}
		}
	}
}
