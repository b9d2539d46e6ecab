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

// A request is what the process reads: one of both.
type request struct {
	Render *job      `json:",omitempty"`
	Index  *indexJob `json:",omitempty"`
}

func (r request) limits() limits {
	if r.Index != nil {
		return r.Index.Limits
	}
	return r.Render.Limits
}

// words name what is done in an error, and the remedy.
func (r request) words() (doing, remedy string) {
	if r.Index != nil {
		return "parsing it", "that is no index of charts: check the URL of the repository"
	}
	return "rendering it", limitRemedy
}

// A response is what the process writes: what was requested, or an error.
type response struct {
	Rendered Rendered
	Index    Index
	Error    string
}

// runIn runs the job in a process of its own.
func (j job) runIn(ctx context.Context, command []string) (Rendered, error) {
	r, err := runIn(ctx, "chart "+j.Source.From, request{Render: &j}, command)
	return r.Rendered, err
}

// runIn has a process of its own do what is requested, which the end of ctx kills. what
// begins an error.
func runIn(ctx context.Context, what string, requested request, command []string) (response, error) {
	text, err := json.Marshal(requested)
	if err != nil {
		return response{}, err
	}
	// The text is base64 in JSON, and there are names around it.
	stdout, stderr := &boundedBuffer{limit: 2*requested.limits().Output + 16<<20}, &boundedBuffer{limit: maxReport, discard: true}
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = []string{} // a chart has no use for it
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(text), stdout, stderr
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return response{}, ctx.Err()
		}
		return response{}, fmt.Errorf("%s: %w", what, requested.failure(err, string(stderr.kept)))
	}
	var r response
	if err := json.Unmarshal(stdout.kept, &r); err != nil {
		return response{}, fmt.Errorf("%s: the rendering process wrote no result: %w", what, err)
	}
	if r.Error != "" {
		return response{}, refusal(r.Error)
	}
	return r, nil
}

// A refusal is an error that depends on the chart, the index and the values alone, so that
// another try has the same result.
type refusal string

func (r refusal) Error() string { return string(r) }

// IsFinal reports whether another try of RenderArchive would return the same error. It is
// not, for instance, if a limit of time was reached on a busy machine.
func IsFinal(err error) bool {
	_, ok := errors.AsType[refusal](err)
	return ok
}

// failure returns why the process ended without a result.
func (r request) failure(err error, stderr string) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	l := r.limits()
	doing, remedy := r.words()
	switch {
	case ok && exit.ExitCode() == exitMemory:
		return fmt.Errorf("%s takes more than %d MiB of memory: %s", doing, l.Memory>>20, remedy)
	case ok && exit.ExitCode() == exitTime:
		return fmt.Errorf("%s takes longer than %s: %s", doing, l.Time, remedy)
	case ok:
		return fmt.Errorf("%s crashed (%w: %s): %s", doing, err, crash(stderr), remedy)
	}
	return fmt.Errorf("start the process for it: %w", err)
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

// Serve renders the chart or parses the index that in has, and writes the result to out. It calls exit if the
// job reaches its limits of memory or time, or if ctx ends.
func Serve(ctx context.Context, in io.Reader, out io.Writer, exit func(code int)) error {
	var requested request
	if err := json.NewDecoder(in).Decode(&requested); err != nil {
		return fmt.Errorf("read the chart to render from standard input: %w", err)
	}
	if requested.Render == nil && requested.Index == nil {
		return errors.New("standard input has neither a chart to render nor an index to parse")
	}
	l := requested.limits()
	done := make(chan struct{})
	var watch sync.WaitGroup
	defer watch.Wait()
	defer close(done)
	debug.SetMemoryLimit(l.Memory * 3 / 4) // the garbage collector works harder from here on
	watch.Go(func() { l.enforce(ctx, done, exit) })

	var r response
	var err error
	if requested.Index != nil {
		r.Index, err = requested.Index.run()
	} else {
		r.Rendered, err = requested.Render.run(ctx)
	}
	if err != nil {
		r = response{Error: err.Error()}
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
