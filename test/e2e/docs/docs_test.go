// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package docs runs the fenced commands of the documentation that are marked
// "e2e", each page on a control plane of its own.
package docs

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
	"github.com/castai/privatelink-webhook/test/integration/docs"
)

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
	total := 0
	for _, page := range pages {
		fences, err := docs.Fences(programs.Root, page)
		if err != nil {
			t.Fatal(err)
		}
		if !marked(fences) {
			continue
		}
		t.Run(page, func(t *testing.T) { total += run(t, fences) })
	}
	t.Logf("%d commands", total)
	if total == 0 {
		t.Error("no command ran")
	}
}

func marked(fences []docs.Fence) bool {
	for _, f := range fences {
		if f.Mark == docs.E2E {
			return true
		}
	}
	return false
}

func run(t *testing.T, fences []docs.Fence) int {
	h, err := harness.Start(alive, programs, t.Output())
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
	dir := t.TempDir()
	if err := docs.Checkout(programs.Root, programs.Bin, dir); err != nil {
		t.Fatal(err)
	}
	const separator = string(os.PathListSeparator)
	n, err := docs.Run(alive, fences, docs.E2E, dir, []string{
		"HOME=" + t.TempDir(),
		"KUBECONFIG=" + h.Kubeconfig,
		"PATH=" + programs.Bin + separator + filepath.Dir(h.KubectlPath) + separator + os.Getenv("PATH"),
	})
	if err != nil {
		t.Error(err)
	}
	return n
}
