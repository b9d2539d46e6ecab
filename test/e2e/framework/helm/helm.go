// SPDX-License-Identifier: Apache-2.0

// Package helm compiles Helm 3 and Helm 4 from their modules.
//
// Each is pinned by a module of its own, in the folders v3 and v4, which decides no version
// in the product's go.mod. The libraries of Kubernetes have the patch release of that
// go.mod, because they are compiled already.
package helm

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

// Majors are the major versions of Helm, the older one first.
func Majors() []int { return []int{3, 4} }

// program is Helm of a major version.
type program struct{ major int }

// Build compiles these major versions into .cache/helm below root, unless they are there
// already. With cold caches it takes several minutes on two cores.
func Build(ctx context.Context, root string, log io.Writer, majors ...int) error {
	for _, major := range majors {
		if err := (program{major}).build(ctx, root, log); err != nil {
			return fmt.Errorf("building Helm %d: %w", major, err)
		}
	}
	return nil
}

// Path returns the program of a major version, which Build compiles.
func Path(root string, major int) (string, error) { return program{major}.path(root) }

// path is that of the program in the cache. The module's requirements are part of it.
func (p program) path(root string) (string, error) {
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(p.module(root), name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%d\n%s", len(text), text)
	}
	return filepath.Join(root, ".cache", "helm", fmt.Sprintf("v%d-%x", p.major, sum.Sum(nil)[:6]), "helm"), nil
}

func (p program) module(root string) string {
	return filepath.Join(root, "test", "e2e", "framework", "helm", fmt.Sprintf("v%d", p.major))
}

func (p program) build(ctx context.Context, root string, log io.Writer) error {
	out, err := p.path(root)
	if err != nil {
		return err
	}
	if _, err := os.Stat(out); err == nil {
		return nil
	}
	begin := time.Now()
	fmt.Fprintf(log, "building Helm %d from source; the first time takes minutes\n", p.major)
	flags, err := p.linkFlags(ctx, root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	partial := out + ".partial" // a build that is interrupted leaves no program
	if _, err := p.run(ctx, root, "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", partial, fmt.Sprintf("helm.sh/helm/v%d/cmd/helm", p.major)); err != nil {
		return err
	}
	fmt.Fprintf(log, "built in %s\n", time.Since(begin).Round(time.Second))
	return os.Rename(partial, out)
}

// linkFlags are those of Helm's own Makefile. They name the version of Kubernetes that
// Helm 3 assumes without a cluster; without them it is 1.20. Helm 4 knows its libraries.
func (p program) linkFlags(ctx context.Context, root string) (string, error) {
	const strip = "-s -w"
	if p.major != 3 {
		return strip, nil
	}
	version, err := p.run(ctx, root, "list", "-m", "-f", "{{.Version}}", "k8s.io/client-go") // such as v0.34.1
	if err != nil {
		return "", err
	}
	parts := strings.Split(strings.TrimSpace(version), ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("k8s.io/client-go has version %q", version)
	}
	const pkg = "helm.sh/helm/v3/pkg/chartutil"
	return fmt.Sprintf("%s -X %s.k8sVersionMajor=1 -X %[2]s.k8sVersionMinor=%s", strip, pkg, parts[1]), nil
}

// run runs go in the module and returns its output.
func (p program) run(ctx context.Context, root string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = p.module(root), append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off"), &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go removes its own temporary files
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w: install Go", err)
	case err != nil:
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return string(out), nil
}
