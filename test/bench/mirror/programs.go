// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// copyOurs runs `privatelink mirror` on a pod that has all images. Its lock file
// stays for the second run with the same target.
func (b *bench) copyOurs(ctx context.Context, source, target string) error {
	dir := filepath.Join(b.dir, "ours-"+id(target))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var pod strings.Builder
	pod.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: all, namespace: castai-agent}\nspec:\n  containers:\n")
	for i := range images {
		fmt.Fprintf(&pod, "  - {name: c%d, image: \"%s/library/image-%d:v1\"}\n", i, source, i)
	}
	file := filepath.Join(dir, "pod.yaml")
	if err := os.WriteFile(file, []byte(pod.String()), 0o644); err != nil {
		return err
	}
	return execute(ctx, b.ours, "mirror", "--registry", target+"/castai", "--no-webhook-image", "-f", file, "--lock", filepath.Join(dir, "lock.yaml"),
		"--plain-http", source, "--plain-http", target)
}

// copyCrane runs crane for each image, eight at a time.
func (b *bench) copyCrane(ctx context.Context, source, target string) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(8)
	for i := range images {
		all.Go(func() error {
			return execute(ctx, filepath.Join(b.peers, "crane"), "copy", "--insecure", fmt.Sprintf("%s/library/image-%d:v1", source, i), b.targetRef(source, target, i))
		})
	}
	return all.Wait()
}

// copyRegsync runs regsync once over all images, eight at a time.
func (b *bench) copyRegsync(ctx context.Context, source, target string) error {
	var config strings.Builder
	fmt.Fprintf(&config, "version: 1\ncreds:\n- {registry: %q, tls: disabled, reqConcurrent: 16}\n- {registry: %q, tls: disabled, reqConcurrent: 16}\ndefaults: {parallel: 8}\nsync:\n", source, target)
	for i := range images {
		fmt.Fprintf(&config, "- {source: \"%s/library/image-%d:v1\", target: %q, type: image}\n", source, i, b.targetRef(source, target, i))
	}
	file := filepath.Join(b.dir, "regsync-"+id(target)+".yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o644); err != nil {
		return err
	}
	return execute(ctx, filepath.Join(b.peers, "regsync"), "once", "-c", file)
}

func id(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

func execute(ctx context.Context, program string, args ...string) error {
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, out)
	}
	return nil
}

// startSource starts a registry of the distribution project.
func (b *bench) startSource(ctx context.Context) (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b.source = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	config := filepath.Join(b.dir, "source.yaml")
	text := fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: true}, level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(b.dir, "source"), b.source)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.peers, "registry"), "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	for range 200 {
		if c, err := net.Dial("tcp", b.source); err == nil {
			return stop, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return nil, fmt.Errorf("the source registry does not listen on %s", b.source)
}
