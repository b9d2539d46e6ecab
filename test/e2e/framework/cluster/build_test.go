// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheProgramsAreToldTheirVersion(t *testing.T) {
	flags := linkFlags("v1.37.2")
	for _, want := range []string{"version.gitVersion=v1.37.2", "version.gitMajor=1", "version.gitMinor=37"} {
		if !strings.Contains(flags, want) {
			t.Errorf("link flags %q lack %q", flags, want)
		}
	}
}

func TestOutsideOfTheRepositoryThereIsNothingToBuild(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", "")
	_, err := Build(t.Context(), t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "test/e2e/framework/cluster/kube/go.mod") {
		t.Errorf("error %v, want one that names the missing file", err)
	}
}

func TestFingerprint(t *testing.T) {
	of := func(t *testing.T, modfile string, more map[string]string) string {
		t.Helper()
		dir := module(t, "v1.99.1", "v1.98.7")
		for name, text := range more {
			write(t, filepath.Join(dir, name), text)
		}
		sum, err := fingerprint(dir, release{modfile: modfile})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	const older = "versions/1.98.mod"
	for name, tc := range map[string]struct {
		modfile string
		change  map[string]string
		same    bool
	}{
		"the same files have the same fingerprint":        {"go.mod", nil, true},
		"a file that is not built does not count":         {"go.mod", map[string]string{"notes.txt": "b"}, true},
		"a changed source counts":                         {"go.mod", map[string]string{"main.go": "b"}, false},
		"a changed sum counts":                            {"go.mod", map[string]string{"go.sum": "b"}, false},
		"text that moves between files counts":            {"go.mod", map[string]string{"main.go": "", "nain.go": "a"}, false},
		"another version's files do not count":            {"go.mod", map[string]string{"versions/1.98.mod": "b", "versions/1.98.sum": "b"}, true},
		"an older version's module file counts for it":    {older, map[string]string{"versions/1.98.mod": "b"}, false},
		"an older version's sums count for it":            {older, map[string]string{"versions/1.98.sum": "b"}, false},
		"the source counts for an older version":          {older, map[string]string{"main.go": "b"}, false},
		"the default's files do not count for an older":   {older, map[string]string{"go.mod": "b", "go.sum": "b"}, true},
		"a file that is added does not count for another": {older, map[string]string{"versions/1.97.mod": "b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			base, got := of(t, tc.modfile, map[string]string{"main.go": "a"}), of(t, tc.modfile, with(map[string]string{"main.go": "a"}, tc.change))
			if (got == base) != tc.same {
				t.Errorf("fingerprint %q, the base has %q; same: want %t", got, base, tc.same)
			}
		})
	}
	if of(t, "go.mod", nil) == of(t, older, nil) {
		t.Error("two versions have the same fingerprint")
	}
}

func with(base, change map[string]string) map[string]string {
	maps.Copy(base, change)
	return base
}

func TestReleasedPrograms(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		want  string // part of the error; empty: the folder itself is returned
	}{
		"a complete folder is used as it is":            {programs(), ""},
		"a folder without kubectl is refused":           {[]string{Etcd, APIServer, ControllerManager}, "lacks [kubectl]"},
		"an empty folder is refused with what it needs": {nil, "name a folder with etcd, kube-apiserver and kubectl"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range tc.files {
				write(t, filepath.Join(dir, f), "")
			}
			t.Setenv("KUBEBUILDER_ASSETS", dir)
			t.Setenv("K8S", "")
			bin, err := Build(t.Context(), ".", nil)
			if tc.want == "" && (err != nil || bin != dir) {
				t.Errorf("Build = %q, %v, want %q", bin, err, dir)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Build: %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// A folder that an earlier build left stands in for the minutes of a real one.
func TestOnlyTheControllerManagerIsAddedToReleasedPrograms(t *testing.T) {
	root, assets := checkout(t, "v1.99.1"), t.TempDir()
	built(t, root, "v1.99.1")
	for _, name := range programs() {
		if name != ControllerManager {
			write(t, filepath.Join(assets, name), "released")
		}
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	t.Setenv("K8S", "")
	var log strings.Builder
	for range 2 { // the second time it is there already
		bin, err := Build(t.Context(), root, &log)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{Etcd: "released", APIServer: "released", "kubectl": "released", ControllerManager: "v1.99.1"} {
			if got, err := os.ReadFile(filepath.Join(bin, name)); err != nil || string(got) != want {
				t.Errorf("%s is %q (%v), want %q", name, got, err, want)
			}
		}
	}
	if !strings.Contains(log.String(), "has no kube-controller-manager: using that of this repository") {
		t.Errorf("the log does not say so: %q", log.String())
	}
}

func TestPublish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	fill := func(text string, err error) func(string) error {
		return func(tmp string) error { write(t, filepath.Join(tmp, "f"), text); return err }
	}
	failed := errors.New("failed")
	if err := publish(dir, fill("half", failed)); !errors.Is(err, failed) {
		t.Errorf("publish: %v, want %v", err, failed)
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) != 0 {
		t.Errorf("a failed build left %v", left)
	}
	for _, text := range []string{"one", "two"} { // what is there is incomplete, otherwise it would not be published
		if err := publish(dir, fill(text, nil)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "f")); string(got) != text {
			t.Errorf("published %q (%v), want %q", got, err, text)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
}
