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
	"slices"
	"strings"
	"time"
)

// programs are what a folder of programs has to hold.
func programs() []string { return []string{Etcd, APIServer, ControllerManager, "kubectl"} }

// Build returns a folder with the programs that Start needs. dir is any folder
// of this repository, in whose .cache/kube the programs are kept.
//
//   - If the variable KUBEBUILDER_ASSETS names a folder with etcd,
//     kube-apiserver and kubectl, these are used, and only a missing
//     kube-controller-manager comes from elsewhere.
//   - Otherwise the released programs are downloaded, from the hosts in
//     KUBERNETES_RELEASES and ETCD_RELEASES or those of the projects.
//   - If these cannot be reached, the programs are compiled from the module in
//     test/e2e/framework/cluster/kube. The first time takes five to fifteen
//     minutes on two cores, and seconds if Go's own cache is warm.
//
// Later calls return at once, until that module changes. The variable K8S
// selects another minor version than that of its go.mod, out of those in its
// folder versions.
func Build(ctx context.Context, dir string, log io.Writer) (bin string, err error) {
	if log == nil {
		log = io.Discard
	}
	root, err := findRoot(dir)
	if err != nil {
		return "", err
	}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		if minor := os.Getenv(versionVariable); minor != "" {
			return "", fmt.Errorf("KUBEBUILDER_ASSETS=%s names programs and %s=%s a version to build: unset one of them", assets, versionVariable, minor)
		}
		return borrow(ctx, root, assets, log)
	}
	return prepare(ctx, root, variant{}, log)
}

// prepare returns a folder of programs that an earlier call left, that are
// released, or that it compiles, in this order.
func prepare(ctx context.Context, root string, v variant, log io.Writer) (string, error) {
	r, err := choose(sourceDir(root), os.Getenv(versionVariable))
	if err != nil {
		return "", err
	}
	compiled, err := compiledDir(root, r, v)
	if err != nil || complete(compiled, v.programs...) {
		return compiled, err
	}
	if err := os.MkdirAll(cacheDir(root), 0o755); err != nil {
		return "", err
	}
	// Packages under test run in parallel, and two cold builds take twice as long.
	unlock, err := lock(ctx, filepath.Join(cacheDir(root), "lock"), log)
	if err != nil {
		return "", fmt.Errorf("waiting for another build of Kubernetes: %w", err)
	}
	defer unlock()
	bin, err := released(ctx, root, r, v, log)
	if errors.Is(err, errNoRelease) {
		fmt.Fprintf(log, "%v\n", err)
		return compiled, build(ctx, root, r, v, compiled, log)
	}
	return bin, err
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
			return "", fmt.Errorf("%s is not in a checkout of the repository: no folder above it has test/e2e/framework/cluster/kube/go.mod", abs)
		}
	}
}

func sourceDir(root string) string {
	return filepath.Join(root, "test", "e2e", "framework", "cluster", "kube")
}
func cacheDir(root string) string { return filepath.Join(root, ".cache", "kube") }

// variant is what a build holds beyond the control plane.
type variant struct {
	suffix   string   // of the folder
	tags     []string // of the build
	programs []string
}

// compiledDir is where the programs that are compiled for v are kept.
func compiledDir(root string, r release, v variant) (string, error) {
	sum, err := fingerprint(sourceDir(root), r)
	return filepath.Join(cacheDir(root), r.version+"-"+sum+v.suffix), err
}

// build compiles the programs into bin, unless another process just did.
func build(ctx context.Context, root string, r release, v variant, bin string, log io.Writer) error {
	if complete(bin, v.programs...) {
		return nil
	}
	begin := time.Now()
	fmt.Fprintf(log, "building Kubernetes %s from source; the first time takes five to fifteen minutes\n", r.version)
	err := publish(bin, func(tmp string) error {
		if err := compile(ctx, sourceDir(root), r, filepath.Join(tmp, "kube"), log, v.tags...); err != nil {
			return fmt.Errorf("building Kubernetes %s from %s: %w", r.version, filepath.Join(sourceDir(root), r.modfile), err)
		}
		for _, name := range append(programs(), v.programs...) {
			if err := os.Symlink("kube", filepath.Join(tmp, name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		fmt.Fprintf(log, "built %s in %s\n", bin, time.Since(begin).Round(time.Second))
	}
	return err
}

// fingerprint is a hash over all that decides the executable, so that no change
// is missed; the module files of other releases do not. It reads the files and
// not git: what is not committed yet counts.
func fingerprint(source string, r release) (string, error) {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(source, r.modfile), filepath.Join(source, r.sumfile()))
	slices.Sort(files)
	h := sha256.New()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", filepath.Base(f), len(text), text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

// compile runs go build. Its children share our fate as far as Linux allows.
func compile(ctx context.Context, source string, r release, out string, log io.Writer, tags ...string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "build", "-modfile", r.modfile, "-trimpath", "-buildvcs=false",
		"-tags", strings.Join(tags, ","), "-ldflags", linkFlags(r.version), "-o", out, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	w := io.MultiWriter(log, &output)
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
	return fmt.Errorf("%w; the end of its output:\n%s", err, lastLines(output.String()))
}

// linkFlags strips the symbols, which halves the file, and names the version:
// kubectl cannot compare itself with a server without one.
func linkFlags(version string) string {
	const pkg = "k8s.io/component-base/version."
	major, minor, _ := strings.Cut(minorOf(version), ".")
	return fmt.Sprintf("-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s", pkg, version, pkg, major, pkg, minor)
}
