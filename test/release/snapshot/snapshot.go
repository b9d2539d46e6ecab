// SPDX-License-Identifier: Apache-2.0

// Package snapshot builds a release of the commit that is checked out, for the platform of
// this machine, as `make release-snapshot` does for all.
package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Builder has the pinned GoReleaser, and its configuration with one platform.
type Builder struct {
	root, goreleaser, config string
}

// NewBuilder compiles GoReleaser into dir, which must be outside of the checkout root: what
// is in there unmodified, and nothing else, is released.
func NewBuilder(ctx context.Context, root, dir string) (*Builder, error) {
	b := &Builder{root: root, goreleaser: filepath.Join(dir, "goreleaser"), config: filepath.Join(dir, "goreleaser.yaml")}
	if _, err := Output(ctx, root, nil, "go", "build", "-modfile=internal/tools/goreleaser/go.mod", "-o", b.goreleaser, "github.com/goreleaser/goreleaser/v2"); err != nil {
		return nil, err
	}
	return b, b.writeConfig()
}

// writeConfig writes the configuration with the platform of this machine alone.
func (b *Builder) writeConfig() error {
	text, err := os.ReadFile(filepath.Join(b.root, ".goreleaser.yaml"))
	if err != nil {
		return err
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		return err
	}
	builds, ok := config["builds"].([]any)
	if !ok || len(builds) != 1 {
		return errors.New(".goreleaser.yaml has not one build")
	}
	build, ok := builds[0].(map[string]any)
	if !ok {
		return errors.New(".goreleaser.yaml: the build is no mapping")
	}
	build["targets"] = []string{runtime.GOOS + "_" + runtime.GOARCH}
	if text, err = yaml.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(b.config, text, 0o644)
}

// Build clones the commit into the folder dir, and builds the release there, with the umask
// and with env in addition to the environment.
func (b *Builder) Build(ctx context.Context, dir, umask string, env ...string) error {
	if _, err := Output(ctx, b.root, nil, "git", "clone", "--quiet", ".", dir); err != nil {
		return err
	}
	script := "umask " + umask + ` && exec make release-snapshot GORELEASER="$1" RELEASE_FLAGS="--config=$2" ARCHITECTURES="$3"`
	_, err := Output(ctx, dir, env, "sh", "-c", script, "sh", b.goreleaser, b.config, runtime.GOARCH)
	return err
}

// Archive is the file of the release in dir with the command for this machine.
func Archive(dir, version string) string {
	return filepath.Join(dir, "dist", "release", "privatelink_"+strings.TrimPrefix(version, "v")+"_"+runtime.GOOS+"_"+runtime.GOARCH+".tar.gz")
}

// Output runs a program with env in addition to the environment, and returns its standard
// output.
func Output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out), nil
}
