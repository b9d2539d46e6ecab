// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/castai/privatelink-webhook/internal/testutil/prometheus"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

// Architectures are those that every image is built for.
func Architectures() []string { return []string{"amd64", "arm64"} }

// Programs are what a node runs, built where there still is a network.
type Programs struct {
	Root       string // of the repository
	Kubernetes string // the folder with the components of Kubernetes
	Cache      string // the folder with all the rest
	Version    string // of the shipped webhook
}

func (p Programs) containerd() string      { return filepath.Join(p.Cache, "containerd") }
func (p Programs) certManager() string     { return filepath.Join(p.Cache, "certmanager") }
func (p Programs) providers() string       { return filepath.Join(p.Cache, "providers") }
func (p Programs) prometheus() string      { return filepath.Join(p.Cache, "prometheus") }
func (p Programs) tool(name string) string { return filepath.Join(p.Cache, "tools", name) }

// TerraformProviders is a folder with the provider of the module: TF_PLUGINS, or what
// Build downloaded.
func (p Programs) TerraformProviders() string {
	if plugins := os.Getenv("TF_PLUGINS"); plugins != "" {
		return plugins
	}
	return filepath.Join(p.Cache, "terraform")
}

func (p Programs) of(arch, n string) string { return filepath.Join(p.Cache, arch, n) }

// CLI is the operator's command line.
func (p Programs) CLI() string { return p.tool("privatelink") }

// Build builds all that a node runs, from this checkout, into .cache, and
// installs the packages of the distribution that it needs. dir is any folder of
// the repository. With cold caches it takes a quarter of an hour on two cores,
// and seconds with warm ones.
func Build(ctx context.Context, dir string, log io.Writer) (p Programs, err error) {
	if err := installPackages(ctx, log); err != nil {
		return p, err
	}
	if _, err := emulator.Install(ctx); err != nil {
		return p, err
	}
	if p.Kubernetes, err = cluster.BuildNode(ctx, dir, log); err != nil {
		return p, err
	}
	p.Root = filepath.Join(p.Kubernetes, "..", "..", "..")
	p.Cache = filepath.Join(p.Root, ".cache", "node")
	if err := os.MkdirAll(p.Cache, 0o755); err != nil {
		return p, err
	}
	if p.Version, err = version(p.Root); err != nil {
		return p, err
	}
	unlock, err := lock(filepath.Join(p.Cache, "lock"))
	if err != nil {
		return p, err
	}
	defer unlock()
	if _, err := prometheus.Find(p.prometheus()); err != nil {
		return p, err
	}
	begin := time.Now()
	// The flags are those of the Makefile.
	trimmed := []string{"-trimpath", "-ldflags", "-s -w -X main.version=" + p.Version}
	errs := []error{
		p.build(ctx, filepath.Join("test", "isolated", "containerd"), p.containerd()+"/", "", "-trimpath", "-ldflags", "-s -w", "tool"),
		p.build(ctx, certManagerModule, p.certManager(), "", "-trimpath", "-ldflags", "-s -w", "."),
		p.copyDefinitions(ctx),
		p.build(ctx, "", p.tool(""), "", append(trimmed, "./internal/tools/ociimage")...),
		p.build(ctx, "", p.providers()+"/", "", append(trimmed, "./test/isolated/ecr-credential-provider")...),
	}
	for _, arch := range Architectures() {
		errs = append(errs, p.build(ctx, "", p.of(arch, ""), arch, append(trimmed, "./cmd/privatelink-webhook", "./test/isolated/standin")...))
	}
	errs = append(errs, p.buildWrongClock(ctx, trimmed), p.downloadTerraformProviders(ctx))
	if err := errors.Join(errs...); err != nil {
		return p, err
	}
	if err := p.buildCLI(ctx, trimmed); err != nil {
		return p, err
	}
	if withStory {
		if err := p.buildStory(ctx, log); err != nil {
			return p, err
		}
	}
	fmt.Fprintf(log, "containerd, cert-manager, the programs of images and of this repository built in %s\n", time.Since(begin).Round(100*time.Millisecond))
	return p, nil
}

// downloadTerraformProviders downloads the provider of the module, which the machine
// without a network could not.
func (p Programs) downloadTerraformProviders(ctx context.Context) error {
	if _, err := os.Stat(p.TerraformProviders()); err == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, "terraform", "-chdir="+filepath.Join(p.Root, "deploy", "terraform"), "providers", "mirror", p.TerraformProviders())
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w; install Terraform 1.11 or newer, and make its registry reachable or set TF_PLUGINS to a folder with the provider: %s", cmd, err, said)
	}
	return nil
}

// buildCLI does what `make build-release` does: it builds the command with the webhook's
// image in it.
func (p Programs) buildCLI(ctx context.Context, flags []string) error {
	binaries := map[string]string{}
	for _, arch := range Architectures() {
		binaries[arch] = p.of(arch, "privatelink-webhook")
	}
	layout := filepath.Join(p.Root, "internal", "webhookimage", "layout")
	if err := p.ociimage(ctx, nil, p.Version, binaries, "--layout", layout); err != nil {
		return err
	}
	return p.build(ctx, "", p.tool(""), "", append(flags, "-tags", "webhookimage", "./cmd/privatelink")...)
}

// ociimage packs the webhook's image as `make webhook-image` does.
func (p Programs) ociimage(ctx context.Context, env []string, version string, binaries map[string]string, args ...string) error {
	args = append(args, "--version", version, "--port", "9443,8080")
	for arch, file := range binaries {
		args = append(args, "--binary", arch+"="+file)
	}
	cmd := exec.CommandContext(ctx, p.tool("ociimage"), args...)
	cmd.Env = env
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("packing the webhook's image: %w: %s", err, said)
	}
	return nil
}

// build runs go build in a folder of the repository. Nothing is linked again
// that is up to date.
func (p Programs) build(ctx context.Context, dir, out, arch string, args ...string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", out + "/"}, args...)...)
	cmd.Dir = filepath.Join(p.Root, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if arch != "" {
		cmd.Env = append(cmd.Env, "GOOS=linux", "GOARCH="+arch)
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return nil
}

// lock waits until no other build writes to the same folder.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

var shipped = regexp.MustCompile(`(?m)^\s+image: \S+/privatelink-webhook:(\S+)$`)

// version stands in one place: the image tag of the shipped Deployment.
func version(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "base", "deployment.yaml"))
	if err != nil {
		return "", err
	}
	found := shipped.FindSubmatch(text)
	if found == nil {
		return "", errors.New("deploy/base/deployment.yaml names no version of the webhook's image")
	}
	return string(found[1]), nil
}
