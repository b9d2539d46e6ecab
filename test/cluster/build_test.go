// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheVersionComesFromTheModuleFile(t *testing.T) {
	root, err := findRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	version, _, err := fingerprint(sourceDir(root))
	if err != nil || !strings.HasPrefix(version, "v1.") {
		t.Fatalf("version %q, %v", version, err)
	}
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
	if err == nil || !strings.Contains(err.Error(), "test/cluster/kube/go.mod") {
		t.Errorf("error %v, want one that names the missing file", err)
	}
}

func TestFingerprint(t *testing.T) {
	const gomod = "module m\n\nrequire (\n\tk8s.io/kubernetes v1.99.1\n)\n"
	of := func(t *testing.T, files map[string]string) (string, error) {
		dir := t.TempDir()
		for name, text := range files {
			write(t, filepath.Join(dir, name), text)
		}
		version, sum, err := fingerprint(dir)
		return version + "-" + sum, err
	}
	base, err := of(t, map[string]string{"go.mod": gomod, "main.go": "a"})
	if err != nil || !strings.HasPrefix(base, "v1.99.1-") {
		t.Fatalf("fingerprint %q, %v", base, err)
	}
	for name, tc := range map[string]struct {
		files map[string]string
		same  bool
	}{
		"the same files have the same fingerprint": {map[string]string{"go.mod": gomod, "main.go": "a"}, true},
		"a file that is not built does not count":  {map[string]string{"go.mod": gomod, "main.go": "a", "notes.txt": "b"}, true},
		"a changed source counts":                  {map[string]string{"go.mod": gomod, "main.go": "b"}, false},
		"a changed sum counts":                     {map[string]string{"go.mod": gomod, "main.go": "a", "go.sum": "b"}, false},
		"text that moves between files counts":     {map[string]string{"go.mod": gomod, "main.go": "", "nain.go": "a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := of(t, tc.files)
			if err != nil || (got == base) != tc.same {
				t.Errorf("fingerprint %q (%v), the base has %q; same: want %t", got, err, base, tc.same)
			}
		})
	}
	if _, err := of(t, map[string]string{"go.mod": "module m\n"}); err == nil || !strings.Contains(err.Error(), "go get k8s.io/kubernetes") {
		t.Errorf("without the requirement: %v, want an error that names the remedy", err)
	}
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
	root, assets := t.TempDir(), t.TempDir()
	write(t, filepath.Join(sourceDir(root), "go.mod"), "require (\n\tk8s.io/kubernetes v1.99.1\n)\n")
	version, sum, err := fingerprint(sourceDir(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range programs() {
		write(t, filepath.Join(cacheDir(root), version+"-"+sum, name), "own")
		if name != ControllerManager {
			write(t, filepath.Join(assets, name), "released")
		}
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	var log strings.Builder
	for range 2 { // the second time it is there already
		bin, err := Build(t.Context(), root, &log)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{Etcd: "released", APIServer: "released", "kubectl": "released", ControllerManager: "own"} {
			if got, err := os.ReadFile(filepath.Join(bin, name)); err != nil || string(got) != want {
				t.Errorf("%s is %q (%v), want %q", name, got, err, want)
			}
		}
	}
	if !strings.Contains(log.String(), "has no kube-controller-manager: using one built from source") {
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
	for _, text := range []string{"one", "two"} { // what is there is incomplete, else nobody would publish
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
