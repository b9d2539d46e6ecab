// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/castai/privatelink-webhook/test/e2e/framework/helm"
	"github.com/castai/privatelink-webhook/test/release/snapshot"
)

// release is a checkout of the last commit with its release.
func (p Programs) release() string { return filepath.Join(p.Cache, "story", "release") }

// storyHelm is the major version of Helm that the story uses.
const storyHelm = 4

// buildStory builds a release of the last commit, for this platform, and Helm, unless they
// are there already.
func (p Programs) buildStory(ctx context.Context, log io.Writer) error {
	if err := helm.Build(ctx, p.Root, log, storyHelm); err != nil {
		return err
	}
	if p.isReleased(ctx) {
		return nil
	}
	begin := time.Now()
	work, err := os.MkdirTemp("", "privatelink-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.RemoveAll(p.release()); err != nil {
		return err
	}
	builder, err := snapshot.NewBuilder(ctx, p.Root, work)
	if err != nil {
		return err
	}
	if err := builder.Build(ctx, p.release(), "022"); err != nil {
		return err
	}
	fmt.Fprintf(log, "release of the last commit built in %s\n", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// isReleased reports whether there is a release of the last commit.
func (p Programs) isReleased(ctx context.Context) bool {
	commit := func(dir string) string {
		out, err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "HEAD").Output()
		if err != nil {
			return err.Error() + dir
		}
		return string(out)
	}
	_, err := os.Stat(snapshot.Archive(p.release(), p.Version))
	return err == nil && commit(p.Root) == commit(p.release())
}
