// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package cluster

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A control plane runs from programs that a server offers in the layout of the
// real hosts, made from this repository's own build.
func TestAControlPlaneRunsFromReleasedPrograms(t *testing.T) {
	onLinux(t)
	root, err := findRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := Build(t.Context(), root, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	r, err := choose(sourceDir(root), os.Getenv(versionVariable))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range programs() {
		program, err := os.ReadFile(filepath.Join(prepared, name))
		if err != nil {
			t.Fatal(err)
		}
		if name != Etcd {
			path := fmt.Sprintf("/%s/bin/linux/%s/%s", r.version, runtime.GOARCH, name)
			files[path], files[path+".sha256"] = string(program), fmt.Sprintf("%x", sha256.Sum256(program))
			continue
		}
		archive := fmt.Sprintf("etcd-%s-linux-%s", r.etcd, runtime.GOARCH)
		text := tarball(t, archive+"/etcd", string(program))
		files[fmt.Sprintf("/%s/%s.tar.gz", r.etcd, archive)] = text
		files[fmt.Sprintf("/%s/SHA256SUMS", r.etcd)] = fmt.Sprintf("%x  %s.tar.gz\n", sha256.Sum256([]byte(text)), archive)
	}
	minor := os.Getenv(versionVariable)
	serveReleases(t, files)
	t.Setenv(versionVariable, minor)

	fresh := t.TempDir()
	if err := os.CopyFS(sourceDir(fresh), os.DirFS(sourceDir(root))); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	bin, err := Build(t.Context(), fresh, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("downloaded and verified in %s", time.Since(begin).Round(10*time.Millisecond))
	if filepath.Dir(bin) != cacheDir(fresh) || !strings.HasPrefix(filepath.Base(bin), "released-") {
		t.Fatalf("Build = %s, want the released programs below %s", bin, cacheDir(fresh))
	}
	c, err := Start(t.Context(), Config{Bin: bin, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	out, err := c.Kubectl(t.Context(), nil, "version")
	if err != nil || !strings.Contains(string(out), "Server Version: "+r.version) {
		t.Errorf("kubectl version: %v\n%s", err, out)
	}
}
