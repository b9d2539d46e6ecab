// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package docs runs the fenced commands of the documentation that are marked "e2e", each
// page on a control plane of its own. With the build tag helm it runs those marked "helm"
// instead, once with each major version of Helm.
package docs

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
	"github.com/castai/privatelink-webhook/test/integration/docs"
)

// parallel bounds the control planes that run at a time.
const parallel = 3

var (
	programs harness.Programs
	alive    context.Context // ends with an interrupt
)

func TestMain(m *testing.M) {
	os.Exit(harness.Run(os.Stderr, func(ctx context.Context, p harness.Programs) int {
		alive, programs = ctx, p
		return m.Run()
	}))
}

func TestPages(t *testing.T) {
	pages, err := docs.Pages(programs.Root)
	if err != nil {
		t.Fatal(err)
	}
	// Each page needs addresses of its own for the two pods of the webhook.
	var sets [][]string
	for set := range slices.Chunk(programs.Addresses, 2) {
		sets = append(sets, set)
	}
	sets = sets[:min(len(sets), parallel)]
	free := make(chan []string, len(sets))
	for _, set := range sets {
		free <- set
	}
	var total atomic.Int64
	t.Cleanup(func() {
		if total.Load() == 0 {
			t.Error("no command ran")
		}
	})
	runs, err := runsOf(programs.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		fences, err := docs.Fences(programs.Root, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			if !slices.ContainsFunc(fences, func(f docs.Fence) bool { return f.Mark == r.mark }) {
				continue
			}
			t.Run(page+r.name, func(t *testing.T) {
				t.Parallel()
				addresses := <-free
				defer func() { free <- addresses }()
				total.Add(int64(run(t, slices.Clone(fences), r, addresses)))
			})
		}
	}
}

// pageRun is how the fences of a page are run.
type pageRun struct {
	mark string
	name string // after that of the page
	path string // begins PATH, with a separator at its end
}

func run(t *testing.T, fences []docs.Fence, r pageRun, addresses []string) int {
	p := programs
	p.Addresses = addresses
	h, err := harness.Start(alive, p, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Log(h.Logs())
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
	}()
	version, err := h.Client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	minor, err := strconv.Atoi(version.Minor)
	if err != nil {
		t.Fatal(err)
	}
	fences = slices.DeleteFunc(fences, func(f docs.Fence) bool {
		if f.Since > minor {
			t.Logf("%s: needs Kubernetes 1.%d", f, f.Since)
		}
		return f.Since > minor
	})
	dir := t.TempDir()
	if err := docs.Checkout(programs.Root, programs.Bin, dir); err != nil {
		t.Fatal(err)
	}
	const separator = string(os.PathListSeparator)
	n, err := docs.Run(alive, fences, r.mark, dir, []string{
		"HOME=" + t.TempDir(),
		"KUBECONFIG=" + h.Kubeconfig,
		"PATH=" + r.path + programs.Bin + separator + filepath.Dir(h.KubectlPath) + separator + os.Getenv("PATH"),
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d commands", n)
	return n
}
