// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"time"
)

// The exit codes of a process that stopped itself: at a limit, or at a signal.
const (
	exitMemory   = 101
	exitTime     = 102
	exitCanceled = 103
)

const (
	// checkInterval is short enough that a process, which can fill about 10 GB a
	// second, does not exceed its limit by much.
	checkInterval = 5 * time.Millisecond
	// maxReport bounds what is kept of the standard error of the process.
	maxReport = 64 << 10
)

// A response is what the process writes: one of both.
type response struct {
	Rendered Rendered
	Error    string
}

// runIn runs the job in a process of its own, which the end of ctx kills.
func (j job) runIn(ctx context.Context, command []string) (Rendered, error) {
	request, err := json.Marshal(j)
	if err != nil {
		return Rendered{}, err
	}
	// The text is base64 in JSON, and there are names around it.
	stdout, stderr := &boundedBuffer{limit: 2*j.Limits.Output + 16<<20}, &boundedBuffer{limit: maxReport, discard: true}
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = []string{} // a chart has no use for it
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(request), stdout, stderr
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return Rendered{}, ctx.Err()
		}
		return Rendered{}, fmt.Errorf("chart %s: %w", j.Source.From, j.failure(err, string(stderr.kept)))
	}
	var r response
	if err := json.Unmarshal(stdout.kept, &r); err != nil {
		return Rendered{}, fmt.Errorf("chart %s: the rendering process wrote no result: %w", j.Source.From, err)
	}
	if r.Error != "" {
		return Rendered{}, errors.New(r.Error)
	}
	return r.Rendered, nil
}

// failure returns why the process ended without a result.
func (j job) failure(err error, stderr string) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case ok && exit.ExitCode() == exitMemory:
		return fmt.Errorf("rendering it takes more than %d MiB of memory: %s", j.Limits.Memory>>20, limitRemedy)
	case ok && exit.ExitCode() == exitTime:
		return fmt.Errorf("rendering it takes longer than %s: %s", j.Limits.Time, limitRemedy)
	case ok:
		return fmt.Errorf("rendering it crashed (%w: %s): %s", err, crash(stderr), limitRemedy)
	}
	return fmt.Errorf("start the rendering process: %w", err)
}

// crash returns the line in which the Go runtime names the cause.
func crash(stderr string) string {
	line := ""
	for l := range strings.Lines(stderr) {
		line = strings.TrimSpace(l)
		if strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "panic: ") {
			break
		}
	}
	return line
}

// Serve runs the job that in has, and writes the result to out. It calls exit if the
// job reaches its limits of memory or time, or if ctx ends.
func Serve(ctx context.Context, in io.Reader, out io.Writer, exit func(code int)) error {
	var j job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return fmt.Errorf("read the chart to render from standard input: %w", err)
	}
	done := make(chan struct{})
	var watch sync.WaitGroup
	defer watch.Wait()
	defer close(done)
	debug.SetMemoryLimit(j.Limits.Memory * 3 / 4) // the garbage collector works harder from here on
	watch.Go(func() { j.Limits.enforce(ctx, done, exit) })

	var r response
	rendered, err := j.run(ctx)
	if err != nil {
		r.Error = err.Error()
	} else {
		r.Rendered = rendered
	}
	return json.NewEncoder(out).Encode(r)
}

// enforce watches memory, time and ctx until the job is done. A template does not
// end with a context, so that only the end of the process stops it.
func (l limits) enforce(ctx context.Context, done <-chan struct{}, exit func(code int)) {
	timeout, tick := time.NewTimer(l.Time), time.NewTicker(checkInterval)
	defer timeout.Stop()
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			exit(exitCanceled)
			return
		case <-timeout.C:
			exit(exitTime)
			return
		case <-tick.C:
			if memoryInUse() > uint64(l.Memory) {
				exit(exitMemory)
				return
			}
		}
	}
}

// memoryInUse returns the bytes that the Go runtime has from the operating system.
func memoryInUse() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// boundedBuffer keeps the first bytes that are written to it. The write that exceeds
// the limit fails, or is discarded.
type boundedBuffer struct {
	kept    []byte
	limit   int
	discard bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	keep := min(len(p), b.limit-len(b.kept))
	b.kept = append(b.kept, p[:keep]...)
	if keep < len(p) && !b.discard {
		return keep, fmt.Errorf("more than %d bytes", b.limit)
	}
	return len(p), nil
}
