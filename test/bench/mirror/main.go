// SPDX-License-Identifier: Apache-2.0

// Command mirror compares `privatelink mirror` with other programs that copy
// images, in one run: the same images, the same source, the same lines.
//
// The source is a registry of the distribution project. Targets are one that
// shares blobs which a manifest names, as ECR does with BLOB_MOUNTING, and one
// that never shares. Each copy that is called cold finds an empty target. After
// each copy the digests on both sides are compared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-mirror:", err)
		os.Exit(1)
	}
}

// profile is a line between this machine and the registries.
type profile struct {
	name      string
	roundTrip time.Duration
	rate      float64 // bytes a second for each connection
}

// bench is what all measurements share.
type bench struct {
	dir     string // for everything that is written
	ours    string // the program
	peers   string // the folder of the others
	address string // of this machine, not loopback, which the rules do not rewrite
	runs    int
	source  string // host and port of the source itself
}

func run(ctx context.Context) error {
	b := &bench{}
	flag.StringVar(&b.ours, "ours", "", "`FILE` of privatelink")
	flag.IntVar(&b.runs, "runs", 3, "`NUMBER` of copies of each kind; the median counts")
	flag.Parse()
	ours, err := filepath.Abs(b.ours)
	if err != nil || b.ours == "" {
		return errors.Join(err, errors.New("-ours is required"))
	}
	b.ours = ours
	if b.address, err = cluster.HostAddress(); err != nil {
		return err
	}
	if b.peers, err = buildPeers(ctx); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(memory(), "bench-mirror-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	stop, err := b.startSource(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := corpus(b.source); err != nil {
		return err
	}
	wan, none := profile{"20 ms, 25 MB/s a connection", 20 * time.Millisecond, 25e6}, profile{name: "loopback"}
	fmt.Printf("%d images for two platforms, 590 MB in unique layers, 1,148 MB counted per repository; medians of %d\n\n", images, b.runs)
	shares, err := b.compare(ctx, wan, true)
	if err != nil {
		return err
	}
	never, err := b.compare(ctx, wan, false)
	if err != nil {
		return err
	}
	floor, loop, err := b.floor(ctx, none)
	if err != nil {
		return err
	}
	fmt.Println("\nratios, of one run")
	ratio := func(what string, value, want float64) {
		verdict := "met"
		if value < want {
			verdict = "MISSED"
		}
		fmt.Printf("  %-66s %5.2f   (at least %.2f: %s)\n", what, value, want, verdict)
	}
	ratio("cold, a target that shares: crane's time / ours", shares.cold["crane"]/shares.cold["ours"], 1.5)
	ratio("cold, a target that shares: regsync's time / ours", shares.cold["regsync"]/shares.cold["ours"], 1)
	ratio("cold, a target that never shares: crane's time / ours", never.cold["crane"]/never.cold["ours"], 1)
	ratio("nothing to do: regsync's time / ours", shares.noop["regsync"]/shares.noop["ours"], 1)
	ratio("loopback: raw copy's time / ours", floor/loop, 0.6)
	return nil
}

// memory is a directory in memory, so that no disk is measured, if there is one.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// buildPeers builds what is pinned in peers/go.mod.
func buildPeers(ctx context.Context) (string, error) {
	root, err := filepath.Abs(".")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, ".cache", "mirror-peers")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin+"/", "tool")
	cmd.Dir = filepath.Join(root, "test", "bench", "mirror", "peers")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the peers: %w: %s", err, out)
	}
	return bin, nil
}

// times are medians in seconds, by program.
type times struct{ cold, noop map[string]float64 }

// program copies all images from one host to another.
type program struct {
	name string
	copy func(ctx context.Context, source, target string) error
}

func (b *bench) programs() []program {
	return []program{{"ours", b.copyOurs}, {"crane", b.copyCrane}, {"regsync", b.copyRegsync}}
}

// targetRef is the target that the rules give an image: every program copies to it.
func (b *bench) targetRef(source, target string, i int) string {
	return b.targetRepository(source, target, i) + ":v1"
}

func (b *bench) targetRepository(source, target string, i int) string {
	return fmt.Sprintf("%s/castai/%s/library/image-%d", target, strings.Replace(source, ":", "_", 1), i)
}

// compare measures all programs, alternating.
func (b *bench) compare(ctx context.Context, p profile, shares bool) (times, error) {
	source, err := listenLink(b.address, b.source, p.roundTrip, p.rate)
	if err != nil {
		return times{}, err
	}
	defer source.Close()
	cold, noop := map[string][]float64{}, map[string][]float64{}
	for range b.runs {
		for _, prog := range b.programs() {
			c, n, err := b.once(ctx, prog, p, source.Addr().String(), shares)
			if err != nil {
				return times{}, fmt.Errorf("%s: %w", prog.name, err)
			}
			cold[prog.name], noop[prog.name] = append(cold[prog.name], c), append(noop[prog.name], n)
		}
	}
	name := "never shares blobs"
	if shares {
		name = "shares blobs of manifests that it has"
	}
	fmt.Printf("%s; the target %s\n  %-10s %10s %16s\n", p.name, name, "", "cold", "nothing to do")
	t := times{map[string]float64{}, map[string]float64{}}
	for _, prog := range b.programs() {
		t.cold[prog.name], t.noop[prog.name] = median(cold[prog.name]), median(noop[prog.name])
		fmt.Printf("  %-10s %8.2f s %14.3f s   (cold %s)\n", prog.name, t.cold[prog.name], t.noop[prog.name], spread(cold[prog.name]))
	}
	return t, nil
}

// once copies to an empty target, and then again.
func (b *bench) once(ctx context.Context, prog program, p profile, source string, shares bool) (cold, noop float64, err error) {
	t, err := b.startTarget(source, shares)
	if err != nil {
		return 0, 0, err
	}
	defer t.stop()
	target, err := listenLink(b.address, t.address, p.roundTrip, p.rate)
	if err != nil {
		return 0, 0, err
	}
	defer target.Close()
	host := target.Addr().String()
	took := func() (float64, error) {
		begin := time.Now()
		err := prog.copy(ctx, source, host)
		return time.Since(begin).Seconds(), err
	}
	if cold, err = took(); err != nil {
		return 0, 0, err
	}
	different, err := compare(func(i int) string { return fmt.Sprintf("%s/library/image-%d:v1", source, i) },
		func(i int) string { return b.targetRef(source, host, i) })
	if err != nil || different > 0 {
		return 0, 0, errors.Join(err, fmt.Errorf("%d images differ after the copy", different))
	}
	noop, err = took()
	return cold, noop, err
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func spread(all []float64) string {
	return fmt.Sprintf("%.2f–%.2f s", slices.Min(all), slices.Max(all))
}
