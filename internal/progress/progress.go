// SPDX-License-Identifier: Apache-2.0

// Package progress reports a run of privatelink mirror, check, export or import:
// to a terminal with progress bars, to a log in lines, or to a program as JSON or YAML.
package progress

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

const (
	logInterval = 5 * time.Second
	barInterval = 100 * time.Millisecond
)

// Options configure a Reporter. Out and ErrOut are required.
type Options struct {
	Out    io.Writer // results
	ErrOut io.Writer // progress and warnings
	// Format of the results. For programs, events are part of them: JSON has an object
	// a line, YAML a document each.
	Format output.Format
	// Version of the program, part of the summary for programs.
	Version string
	// Program is the command with its version, for the header.
	Program string
	// Target is the registry and, if the images are those of one, the cluster.
	Target target.Target
}

// Reporter writes the events and the result of a run. It is safe for concurrent use.
type Reporter struct {
	Options
	screen io.Writer // the terminal that displays progress bars; nil without one

	isReported bool   // the result, by Compared or Copied
	next       string // what to do about it; empty if it needs nothing

	mu   sync.Mutex
	bars *mpb.Progress // nil unless they are displayed
}

// New returns a Reporter. It displays progress bars if ErrOut is a terminal.
func New(o Options) *Reporter {
	r := &Reporter{Options: o}
	if f := terminal.Screen(o.ErrOut, os.Getenv); f != nil && !r.writesEvents() {
		r.screen = f
	}
	return r
}

// writesEvents reports whether the output is one event after the other, for programs.
func (r *Reporter) writesEvents() bool { return r.Format != output.Text && r.Format != output.HTML }

// Event reports what happened to an image or a repository.
func (r *Reporter) Event(e mirror.Event) {
	switch {
	case r.writesEvents():
		r.record(e)
	case e.Kind == mirror.EventFailed, e.Kind == mirror.EventWarning:
		r.logf("%s: %s: %s", e.Kind, cmp.Or(e.Source, e.Target), e.Message)
	case e.Kind == mirror.EventCreated:
		r.logf("created the repository %s", e.Target)
	case e.Kind == mirror.EventCopied && r.screen == nil:
		r.logf("copied %s to %s", e.Source, e.Target)
	}
}

// Warn reports something that does not stop the run.
func (r *Reporter) Warn(message string) { r.logf("privatelink: %s", message) }

// Warnf is Warn with a format.
func (r *Reporter) Warnf(format string, args ...any) { r.Warn(fmt.Sprintf(format, args...)) }

// logf writes a line above the progress bars, if they are displayed.
func (r *Reporter) logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.ErrOut
	if r.bars != nil {
		w = r.bars
	}
	fmt.Fprintln(w, terminal.EscapeLine(fmt.Sprintf(format, args...)))
}

// record writes an event or a summary for programs.
func (r *Reporter) record(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = output.WriteEvent(r.Out, r.Format, v)
}

// Start displays the progress of a run until stop is called: bars on a terminal,
// else a line every few seconds. waits returns what requests wait for.
func (r *Reporter) Start(ctx context.Context, p *mirror.Progress, waits func() []registry.Wait) (stop func()) {
	switch {
	case r.writesEvents():
		return func() {}
	case r.screen != nil:
		return r.startBars(ctx, p, waits)
	}
	begin := time.Now()
	return every(ctx, logInterval, func() {
		done, total := p.Done.Load(), p.Total.Load()
		parts := []string{
			fmt.Sprintf("%s of %s", FormatBytes(done), FormatBytes(total)), fmt.Sprintf("%d of %d images", p.ImagesDone.Load(), p.Images.Load()),
			speed(done, total, time.Since(begin)), describe(waits()),
		}
		r.logf("%s", strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", "))
	})
}

// speed returns the average rate and the time left at this rate; nothing before the first
// byte.
func speed(done, total int64, elapsed time.Duration) string {
	if done <= 0 || elapsed <= 0 {
		return ""
	}
	perSecond := float64(done) / elapsed.Seconds()
	left := time.Duration(float64(max(0, total-done)) / perSecond * float64(time.Second))
	return fmt.Sprintf("%s/s, %s left", FormatBytes(int64(perSecond)), left.Round(time.Second))
}

// StartPlanning reports every few seconds, until stop is called, how far a plan is.
func (r *Reporter) StartPlanning(ctx context.Context, p *mirror.PlanProgress) (stop func()) {
	if r.writesEvents() {
		return func() {}
	}
	return every(ctx, logInterval, func() {
		text := fmt.Sprintf("comparing: %d of %d images", p.ImagesDone.Load(), p.Images.Load())
		if blobs := p.Blobs.Load(); blobs > 0 {
			text += fmt.Sprintf(", %d of %d layers looked up", p.BlobsDone.Load(), blobs)
		}
		r.logf("%s", text)
	})
}

// every calls f repeatedly, until stop is called or the context ends.
func every(ctx context.Context, interval time.Duration, f func()) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f()
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// describe names what most requests wait for. The host is last, because a narrow terminal
// cuts the end.
func describe(waits []registry.Wait) string {
	if len(waits) == 0 {
		return ""
	}
	w := waits[0]
	text := fmt.Sprintf("%d requests wait", w.Requests)
	if w.Action != "" {
		text += " for " + string(w.Action)
	}
	switch {
	case !w.Until.IsZero():
		text += " until " + w.Until.UTC().Format(time.TimeOnly+" MST")
	case w.PerSecond > 0:
		text += fmt.Sprintf(" (%g a second)", w.PerSecond)
	}
	return text + " at " + w.Host
}

func (r *Reporter) startBars(ctx context.Context, p *mirror.Progress, waits func() []registry.Wait) (stop func()) {
	bars := mpb.New(mpb.WithOutput(r.screen), mpb.WithAutoRefresh(), mpb.WithWidth(40), mpb.WithRefreshRate(barInterval))
	bytes := bars.AddBar(0, mpb.PrependDecorators(decor.Name("bytes  ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f "), decor.AverageSpeed(decor.SizeB1024(0), "% .1f "), decor.AverageETA(decor.ET_STYLE_GO)))
	images := bars.AddBar(0, mpb.PrependDecorators(decor.Name("images ")), mpb.AppendDecorators(decor.CountersNoUnit("%d / %d")))
	waiting := bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return describe(waits()) })))
	r.setBars(bars)
	update := func() {
		bytes.SetTotal(max(1, p.Total.Load()), false)
		bytes.SetCurrent(p.Done.Load())
		images.SetTotal(max(1, p.Images.Load()), false)
		images.SetCurrent(p.ImagesDone.Load())
	}
	stopUpdates := every(ctx, barInterval, update)
	return func() {
		stopUpdates()
		update()
		// A run that failed leaves incomplete bars: they keep their last state.
		bytes.Abort(false)
		images.Abort(false)
		waiting.Abort(true)
		bars.Wait()
		r.setBars(nil)
	}
}

func (r *Reporter) setBars(bars *mpb.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bars = bars
}

// FormatBytes formats a number of bytes with a unit, such as 4.0 KiB.
func FormatBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("% .1f", decor.SizeB1024(n))
}
