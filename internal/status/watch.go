// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

const (
	minInterval = time.Second
	// keepLookups is how long Watch uses what it knows of an image in the registry.
	keepLookups = time.Minute
)

// Watch repeats the status until ctx ends, which is no error. On a terminal each round
// replaces the screen. Otherwise a change is a line, or a document with a format for
// programs. While the cluster cannot be read, it says so and tries again. Only the first
// round must succeed.
func Watch(ctx context.Context, w io.Writer, format output.Format, o Options) error {
	switch {
	case format == output.HTML:
		return exitcode.Usagef("--watch writes no file for --output html: use json or yaml, or leave one of both out")
	case o.Interval < minInterval:
		return exitcode.Usagef("--interval %s: use at least %s", o.Interval, minInterval)
	}
	client, err := o.Cluster.Client()
	if err != nil {
		return err
	}
	private := newResolver(ctx, o, keepLookups)
	v := &view{Options: o, out: w, format: format, isScreen: format == output.Text && terminal.Screen(w, os.Getenv) != nil}
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	for {
		s, err := o.gather(ctx, client, private)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && v.last == nil:
			return err
		case err != nil:
			err = v.showOutage(err, time.Now())
		default:
			err = v.show(s, time.Now())
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// view shows one status after the other.
type view struct {
	Options
	out      io.Writer
	format   output.Format
	isScreen bool

	last     *Status // nil before the first
	lastAt   time.Time
	facts    map[string]string
	outageAt time.Time // zero while the cluster can be read
}

// show shows a status, as of now.
func (v *view) show(s *Status, now time.Time) error {
	before := v.facts
	v.last, v.lastAt, v.facts = s, now, s.facts(now)
	if v.isScreen {
		v.outageAt = time.Time{}
		return v.draw(fmt.Sprintf("%s, again every %s until Ctrl-C", now.UTC().Format(time.TimeOnly+" MST"), v.Interval), terminal.Plain, now)
	}
	if !v.outageAt.IsZero() {
		outage := duration(v.outageAt, now)
		v.outageAt = time.Time{}
		if err := v.log(now, "the cluster can be read again, after "+outage); err != nil {
			return err
		}
	}
	if v.format != output.Text {
		if maps.Equal(before, v.facts) {
			return nil
		}
		return output.WriteEvent(v.out, v.format, s)
	}
	for _, change := range changes(before, v.facts) {
		if err := v.log(now, change); err != nil {
			return err
		}
	}
	return nil
}

// showOutage shows that the cluster cannot be read, as of now.
func (v *view) showOutage(cause error, now time.Time) error {
	isNew := v.outageAt.IsZero()
	if isNew {
		v.outageAt = now
	}
	if v.isScreen {
		return v.draw(fmt.Sprintf("cannot read the cluster since %s, for %s: %v; below is what was read at %s", v.outageAt.UTC().Format(time.TimeOnly+" MST"),
			duration(v.outageAt, now), cause, v.lastAt.UTC().Format(time.TimeOnly+" MST")), terminal.Red, v.lastAt)
	}
	if !isNew {
		return nil
	}
	return v.log(now, fmt.Sprintf("cannot read the cluster: %v", cause))
}

// draw replaces the screen by a line and the last status.
func (v *view) draw(line string, style terminal.Style, now time.Time) error {
	if err := terminal.Clear(v.out); err != nil {
		return err
	}
	if err := terminal.WriteStyled(v.out, style, terminal.EscapeLine(line)); err != nil {
		return err
	}
	if _, err := io.WriteString(v.out, "\n\n"); err != nil {
		return err
	}
	return v.last.Screen(v.out, v.Program, now)
}

// log writes a line with the time. With a format for programs, it goes to Warn.
func (v *view) log(now time.Time, text string) error {
	text = terminal.EscapeLine(text)
	if v.format != output.Text {
		v.Warn(text)
		return nil
	}
	_, err := fmt.Fprintf(v.out, "%s  %s\n", now.UTC().Format(time.RFC3339), text)
	return err
}

// facts are what Watch reports if it changes, by name. Counters and ages are not among
// them, because they always change.
func (s *Status) facts(now time.Time) map[string]string {
	facts := map[string]string{"registry": s.Registry.String(), "pods that wait": s.Waiting.String(), "configuration": s.ConfigHash}
	for _, r := range s.Replicas {
		state := "not ready"
		if r.Ready {
			state = "ready"
		}
		facts["replica "+r.Pod] = strings.TrimSpace(state + " " + r.Version)
	}
	if s.Policy != "" {
		facts["policy"] = s.Policy
		delete(facts, "configuration")
	}
	if run := s.Mirror.lastRun(); run != "" {
		facts["mirror"] = run
	}
	findings := s.Evaluate(now)
	for _, e := range findings.Errors {
		facts["ERROR "+e] = ""
	}
	for _, u := range findings.Unknown {
		facts["UNKNOWN "+u] = ""
	}
	return facts
}

// changes describes how facts changed, with the names sorted. A fact without a value is
// one that begins and ends.
func changes(before, after map[string]string) (lines []string) {
	all := maps.Clone(after)
	maps.Copy(all, before)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, wasThere := before[name]
		is, isThere := after[name]
		switch {
		case wasThere && isThere && was == is:
		case !isThere && was == "":
			lines = append(lines, "no longer: "+name)
		case !isThere:
			lines = append(lines, name+": gone")
		case is == "":
			lines = append(lines, name)
		case wasThere:
			lines = append(lines, fmt.Sprintf("%s: %s (before: %s)", name, is, was))
		default:
			lines = append(lines, name+": "+is)
		}
	}
	return lines
}
