// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

const kubernetesVersion, etcdVersion = "v1.99.1", "v3.9.1"

// releaseLayout is what the hosts of Kubernetes and of etcd serve for one
// version, by path. Each program holds its own name.
func releaseLayout(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{APIServer, ControllerManager, "kubectl"} {
		path := fmt.Sprintf("/%s/bin/linux/%s/%s", kubernetesVersion, runtime.GOARCH, name)
		files[path] = name
		files[path+".sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	}
	archive := fmt.Sprintf("etcd-%s-linux-%s", etcdVersion, runtime.GOARCH)
	text := tarball(t, archive+"/README.md", "", archive+"/etcd", Etcd)
	files["/"+etcdVersion+"/"+archive+".tar.gz"] = text
	files["/"+etcdVersion+"/SHA256SUMS"] = fmt.Sprintf("%064d  other.zip\n%x  %s.tar.gz\n", 0, sha256.Sum256([]byte(text)), archive)
	return files
}

func tarball(t *testing.T, namesAndTexts ...string) string {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for i := 0; i < len(namesAndTexts); i += 2 {
		header := &tar.Header{Name: namesAndTexts[i], Size: int64(len(namesAndTexts[i+1])), Mode: 0o755, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(namesAndTexts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// serveReleases serves the files and points both variables at them.
func serveReleases(t *testing.T, files map[string]string) (requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	t.Setenv("KUBEBUILDER_ASSETS", "")
	t.Setenv("K8S", "")
	t.Setenv(kubernetesMirror, server.URL)
	t.Setenv(etcdMirror, server.URL+"/")
	return requests
}

func onLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Kubernetes releases its server for Linux only")
	}
}

func TestReleasedProgramsAreDownloadedOnce(t *testing.T) {
	onLinux(t)
	requests, root := serveReleases(t, releaseLayout(t)), checkout(t, kubernetesVersion)
	for range 2 {
		bin, err := Build(t.Context(), root, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range programs() {
			text, err := os.ReadFile(filepath.Join(bin, name))
			if err != nil || string(text) != name {
				t.Errorf("%s holds %q (%v)", name, text, err)
			}
			if info, err := os.Stat(filepath.Join(bin, name)); err != nil || info.Mode().Perm()&0o100 == 0 {
				t.Errorf("%s is not executable: %v", name, err)
			}
		}
	}
	if got := requests.Load(); got != 8 {
		t.Errorf("%d requests, want 8: a file and its checksum for each program, once", got)
	}
}

func TestAReleasedProgramThatWasChangedIsRefused(t *testing.T) {
	onLinux(t)
	layout := releaseLayout(t)
	program := fmt.Sprintf("/%s/bin/linux/%s/%s", kubernetesVersion, runtime.GOARCH, APIServer)
	archive := fmt.Sprintf("/%s/etcd-%s-linux-%s.tar.gz", etcdVersion, etcdVersion, runtime.GOARCH)
	for name, tc := range map[string]struct {
		path, text, want string
	}{
		"a program that is empty, as its checksum says": {program + ".sha256", fmt.Sprintf("%x", sha256.Sum256(nil)), "empty"},
		"a changed program":                             {program, "changed", "changed on its way"},
		"an empty program":                              {program, "", "empty"},
		"a changed archive":                             {archive, tarball(t, fmt.Sprintf("etcd-%s-linux-%s/etcd", etcdVersion, runtime.GOARCH), "changed"), "changed on its way"},
		"an archive without the program":                {archive, tarball(t, "etcd", "etcd"), "the archive has no etcd-"},
		"a page in place of a checksum":                 {program + ".sha256", "<html>log in</html>", "no SHA-256 published"},
		"a list of checksums that lacks the file":       {"/" + etcdVersion + "/SHA256SUMS", "", "no SHA-256 published"},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(layout)
			files[tc.path] = tc.text
			if tc.want == "empty" {
				files[program] = ""
			}
			serveReleases(t, files)
			root := checkout(t, kubernetesVersion)
			_, err := Build(t.Context(), root, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Build: %v, want an error with %q", err, tc.want)
			}
			left, err := filepath.Glob(filepath.Join(cacheDir(root), "*", "*"))
			if err != nil || len(left) != 0 {
				t.Errorf("programs that were refused are left behind: %v (%v)", left, err)
			}
		})
	}
}

// The sources of a checkout of the test do not compile: a build that is tried is
// known by its error.
func TestProgramsAreCompiledWhereNoReleaseCanBeHad(t *testing.T) {
	const compiled = "building Kubernetes v1.99.1"
	noChecksum, noProgram := releaseLayout(t), releaseLayout(t)
	delete(noChecksum, fmt.Sprintf("/%s/bin/linux/%s/kubectl.sha256", kubernetesVersion, runtime.GOARCH))
	delete(noProgram, fmt.Sprintf("/%s/bin/linux/%s/kubectl", kubernetesVersion, runtime.GOARCH))
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, prepare := range map[string]func(*testing.T){
		"the host is out of reach":   func(t *testing.T) { t.Setenv(kubernetesMirror, closed.URL); t.Setenv(etcdMirror, closed.URL) },
		"the host lacks the version": func(t *testing.T) { serveReleases(t, noChecksum) },
		"the host lacks a program":   func(t *testing.T) { serveReleases(t, noProgram) },
		"downloads are off":          func(t *testing.T) { t.Setenv(kubernetesMirror, "off") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBEBUILDER_ASSETS", "")
			t.Setenv("K8S", "")
			prepare(t)
			var log strings.Builder
			_, err := Build(t.Context(), checkout(t, kubernetesVersion), &log)
			if err == nil || !strings.Contains(err.Error(), compiled) {
				t.Errorf("Build: %v, want the error of a build", err)
			}
			if !strings.Contains(log.String(), "no released programs") || !strings.Contains(log.String(), "minutes") {
				t.Errorf("the log does not say what is done and how long it takes: %q", log.String())
			}
		})
	}
}

func TestALeftBuildIsUsedWithoutANetwork(t *testing.T) {
	requests, root := serveReleases(t, nil), checkout(t, kubernetesVersion)
	want := built(t, root, kubernetesVersion)
	bin, err := Build(t.Context(), root, nil)
	if err != nil || bin != want || requests.Load() != 0 {
		t.Errorf("Build = %q, %v after %d requests, want %q after none", bin, err, requests.Load(), want)
	}
}
