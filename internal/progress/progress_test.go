// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/registry"
)

func TestEvent(t *testing.T) {
	copied := mirror.Event{Kind: mirror.EventCopied, Source: "ghcr.io/a:1", Target: "r/a:1"}
	failed := mirror.Event{Kind: mirror.EventFailed, Source: "ghcr.io/a:1", Message: "HTTP 500"}
	for name, tc := range map[string]struct {
		event       mirror.Event
		format      output.Format
		terminal    bool
		out, errOut string
	}{
		"copied":               {event: copied, errOut: "copied ghcr.io/a:1 to r/a:1\n"},
		"copied, with bars":    {event: copied, terminal: true},
		"copied, as JSON":      {event: copied, format: output.JSON, out: `{"event":"copied","source":"ghcr.io/a:1","target":"r/a:1"}` + "\n"},
		"copied, as YAML":      {event: copied, format: output.YAML, out: "---\nevent: copied\nsource: ghcr.io/a:1\ntarget: r/a:1\n"},
		"failed":               {event: failed, errOut: "failed: ghcr.io/a:1: HTTP 500\n"},
		"failed, with bars":    {event: failed, terminal: true, errOut: "failed: ghcr.io/a:1: HTTP 500\n"},
		"control characters":   {event: mirror.Event{Kind: mirror.EventFailed, Source: "ghcr.io/a:1", Message: "\x1b[2K\nfailed: 0"}, errOut: `failed: ghcr.io/a:1: \x1b[2K\nfailed: 0` + "\n"},
		"a created repository": {event: mirror.Event{Kind: mirror.EventCreated, Target: "castai/a"}, errOut: "created the repository castai/a\n"},
		"planned":              {event: mirror.Event{Kind: mirror.EventPlanned, Source: "ghcr.io/a:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			r := New(Options{Out: &out, ErrOut: &errOut, Format: tc.format})
			if tc.terminal {
				r.screen = &errOut
			}
			r.Event(tc.event)
			if out.String() != tc.out || errOut.String() != tc.errOut {
				t.Errorf("out %q, want %q\nerrOut %q, want %q", &out, tc.out, &errOut, tc.errOut)
			}
		})
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if New(Options{ErrOut: f}).screen != nil {
		t.Error("bars would be displayed in a file")
	}
}

func TestStartReportsAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errOut bytes.Buffer
		var p mirror.Progress
		p.Total.Store(4096)
		p.Images.Store(2)
		r := New(Options{ErrOut: &errOut})
		var waits atomic.Value
		waits.Store([]registry.Wait{})
		stop := r.Start(t.Context(), &p, func() []registry.Wait { return waits.Load().([]registry.Wait) })
		time.Sleep(logInterval + time.Second)
		p.Done.Store(1024)
		p.ImagesDone.Store(1)
		waits.Store([]registry.Wait{{Host: "r.example.com", Action: registry.PutImage, Requests: 3, PerSecond: 8}})
		time.Sleep(logInterval)
		stop()
		r.Warnf("%d images", 3)
		const want = "0 B of 4.0 KiB, 0 of 2 images\n1.0 KiB of 4.0 KiB, 1 of 2 images, 102 B/s, 30s left, 3 requests wait for PutImage (8 a second) at r.example.com\nprivatelink: 3 images\n"
		if errOut.String() != want {
			t.Errorf("%q, want %q", &errOut, want)
		}
	})
}

func TestStartPlanningReportsAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errOut bytes.Buffer
		var p mirror.PlanProgress
		p.Images.Store(2)
		stop := New(Options{ErrOut: &errOut}).StartPlanning(t.Context(), &p)
		time.Sleep(logInterval + time.Second)
		p.ImagesDone.Store(2)
		p.Blobs.Store(30)
		p.BlobsDone.Store(10)
		time.Sleep(logInterval)
		stop()
		const want = "comparing: 0 of 2 images\ncomparing: 2 of 2 images, 10 of 30 layers looked up\n"
		if errOut.String() != want {
			t.Errorf("%q, want %q", &errOut, want)
		}
	})
}

func TestStartWritesNothingWithJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, errOut bytes.Buffer
		r := New(Options{Out: &out, ErrOut: &errOut, Format: output.JSON})
		stopPlanning, stop := r.StartPlanning(t.Context(), &mirror.PlanProgress{}), r.Start(t.Context(), &mirror.Progress{}, nil)
		time.Sleep(2 * logInterval)
		stopPlanning()
		stop()
		if out.Len()+errOut.Len() > 0 {
			t.Errorf("out %q, errOut %q", &out, &errOut)
		}
	})
}

func TestBarsKeepTheStateOfAFailedRun(t *testing.T) {
	var errOut bytes.Buffer
	var p mirror.Progress
	p.Total.Store(4096)
	p.Done.Store(1024)
	p.Images.Store(2)
	r := New(Options{ErrOut: &errOut})
	r.screen = &errOut
	stop := r.Start(t.Context(), &p, func() []registry.Wait { return nil })
	r.Warn("a warning above the bars")
	stop()
	for _, want := range []string{"privatelink: a warning above the bars\n", "1.0 KiB / 4.0 KiB", "0 / 2"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("%q does not contain %q", &errOut, want)
		}
	}
	errOut.Reset()
	if r.Warn("after the run"); errOut.String() != "privatelink: after the run\n" {
		t.Errorf("%q", &errOut)
	}
}

func TestDescribe(t *testing.T) {
	until := time.Date(2026, 11, 29, 12, 0, 3, 0, time.UTC)
	for want, waits := range map[string][]registry.Wait{
		"": nil,
		"2 requests wait for PutImage until 12:00:03 UTC at a.example.com": {{Host: "a.example.com", Action: registry.PutImage, Requests: 2, PerSecond: 8, Until: until}, {Host: "b.example.com", Requests: 1}},
		"1 requests wait at auth.example.com":                              {{Host: "auth.example.com", Requests: 1}},
	} {
		if got := describe(waits); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSpeed(t *testing.T) {
	for want, args := range map[string][3]int64{"": {0, 100, 5}, "20 B/s, 0s left": {100, 100, 5}, "1.0 KiB/s, 1m0s left": {10240, 71680, 10}, "10 B/s, 0s left": {100, 90, 10}} {
		if got := speed(args[0], args[1], time.Duration(args[2])*time.Second); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 4096: "4.0 KiB", 3 << 29: "1.5 GiB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
