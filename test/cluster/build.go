// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// programs are what a folder of programs has to hold.
func programs() []string { return []string{Etcd, APIServer, ControllerManager, "kubectl"} }

// Build returns a folder with the programs that Start needs. dir is any folder
// of this repository; the programs are built from the module in
// test/cluster/kube into .cache/kube at its top.
//
// The first build takes five to ten minutes on two cores, and seconds where
// Go's own cache is warm. Later calls return at once, until that module changes.
// Where the variable KUBEBUILDER_ASSETS names a folder with etcd,
// kube-apiserver and kubectl, these are used, and only a missing
// kube-controller-manager is built.
func Build(ctx context.Context, dir string, log io.Writer) (bin string, err error) {
	if log == nil {
		log = io.Discard
	}
	root, err := findRoot(dir)
	if err != nil {
		return "", err
	}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		return borrow(ctx, root, assets, log)
	}
	return buildOwn(ctx, root, variant{}, log)
}

// findRoot is the top of the repository that dir is in.
func findRoot(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for root := abs; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(sourceDir(root), "go.mod")); err == nil {
			return root, nil
		}
		if root == filepath.Dir(root) {
			return "", fmt.Errorf("%s is not in a checkout of the repository: no folder above it has test/cluster/kube/go.mod", abs)
		}
	}
}

func sourceDir(root string) string { return filepath.Join(root, "test", "cluster", "kube") }
func cacheDir(root string) string  { return filepath.Join(root, ".cache", "kube") }

// variant is what a build holds beyond the control plane.
type variant struct {
	suffix   string   // of the folder
	tags     []string // of the build
	programs []string
}

// buildOwn builds unless it finds what an earlier build left.
func buildOwn(ctx context.Context, root string, v variant, log io.Writer) (string, error) {
	version, sum, err := fingerprint(sourceDir(root))
	if err != nil {
		return "", err
	}
	bin := filepath.Join(cacheDir(root), version+"-"+sum+v.suffix)
	if complete(bin, v.programs...) {
		return bin, nil
	}
	if err := os.MkdirAll(cacheDir(root), 0o755); err != nil {
		return "", err
	}
	// Packages under test run side by side, and two cold builds take twice as long.
	unlock, err := lock(ctx, filepath.Join(cacheDir(root), "lock"), log)
	if err != nil {
		return "", fmt.Errorf("waiting for another build of Kubernetes: %w", err)
	}
	defer unlock()
	if complete(bin, v.programs...) {
		return bin, nil
	}
	begin := time.Now()
	fmt.Fprintf(log, "building Kubernetes %s from source; the first time takes five to ten minutes\n", version)
	err = publish(bin, func(tmp string) error {
		if err := compile(ctx, sourceDir(root), filepath.Join(tmp, "kube"), version, log, v.tags...); err != nil {
			return fmt.Errorf("building Kubernetes %s in %s: %w", version, sourceDir(root), err)
		}
		for _, name := range append(programs(), v.programs...) {
			if err := os.Symlink("kube", filepath.Join(tmp, name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	fmt.Fprintf(log, "built %s in %s\n", bin, time.Since(begin).Round(time.Second))
	return bin, nil
}

// fingerprint is the version of Kubernetes that the module asks for and a hash
// over all that decides the executable, so that no change is missed. It reads
// the files and not git: what is not committed yet counts.
func fingerprint(source string) (version, sum string, err error) {
	files, err := filepath.Glob(filepath.Join(source, "*"))
	if err != nil {
		return "", "", err
	}
	h := sha256.New()
	for _, f := range files { // Glob sorts
		name := filepath.Base(f)
		if ext := filepath.Ext(name); ext != ".go" && ext != ".mod" && ext != ".sum" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			return "", "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		if name == "go.mod" {
			version = requiredVersion(string(text))
		}
	}
	if version == "" {
		return "", "", fmt.Errorf("%s does not require k8s.io/kubernetes: run `go get k8s.io/kubernetes@VERSION` there", filepath.Join(source, "go.mod"))
	}
	return version, fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

// requiredVersion takes the version from the one place that has it: go.mod.
func requiredVersion(gomod string) string {
	for line := range strings.Lines(gomod) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "k8s.io/kubernetes" {
			return f[1]
		}
	}
	return ""
}

// compile runs go build. Its children share our fate as far as Linux allows.
func compile(ctx context.Context, source, out, version string, log io.Writer, tags ...string) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", strings.Join(tags, ","), "-ldflags", linkFlags(version), "-o", out, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	w := io.MultiWriter(log, &said)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go removes its own temporary files
	cmd.WaitDelay = 10 * time.Second
	spawn := newSpawner()
	defer spawn.close()
	err := spawn.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w: install Go, or set KUBEBUILDER_ASSETS to a folder with released programs", err)
	}
	return fmt.Errorf("%w; the end of what it said:\n%s", err, lastLines(said.String()))
}

// linkFlags strips the symbols, which halves the file, and names the version:
// kubectl cannot compare itself with a server without one.
func linkFlags(version string) string {
	const pkg = "k8s.io/component-base/version."
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	return fmt.Sprintf("-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s", pkg, version, pkg, major, pkg, minor)
}
