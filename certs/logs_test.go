// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// limited is a rate-limited logger whose records have given times.
type limited struct {
	t    *testing.T
	h    slog.Handler
	logs *buffer
}

func newLimited(t *testing.T) *limited {
	l := &limited{t: t, logs: &buffer{}}
	text := slog.NewTextHandler(l.logs, &slog.HandlerOptions{Level: slog.LevelInfo})
	l.h = (&rateLimitedHandler{Handler: text, state: &repeats{last: map[string]time.Time{}}}).WithAttrs(nil)
	return l
}

func (l *limited) log(after time.Duration, level slog.Level, message, err string) {
	l.t.Helper()
	r := slog.NewRecord(time.Unix(1_000_000, 0).UTC().Add(after), level, message, 0)
	r.Add("err", errors.New(err))
	if err := l.h.Handle(l.t.Context(), r); err != nil {
		l.t.Error(err)
	}
}

func TestARepeatedErrorIsAWarningOnceAMinute(t *testing.T) {
	t.Parallel()
	l := newLimited(t)
	l.log(0, slog.LevelError, "sign", "a")
	l.log(59*time.Second, slog.LevelError, "sign", "a")
	l.log(59*time.Second, slog.LevelError, "sign", "b")
	l.log(59*time.Second, slog.LevelError, "watch", "a")
	l.log(59*time.Second, slog.LevelInfo, "a step", "")
	l.log(time.Minute, slog.LevelError, "sign", "a")
	want := strings.Join([]string{
		"time=1970-01-12T13:46:40.000Z level=WARN msg=sign err=a", "time=1970-01-12T13:47:39.000Z level=WARN msg=sign err=b",
		"time=1970-01-12T13:47:39.000Z level=WARN msg=watch err=a", "time=1970-01-12T13:47:40.000Z level=WARN msg=sign err=a", "",
	}, "\n")
	if diff := cmp.Diff(want, l.logs.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Errors that differ each time do not fill the memory.
func TestAHundredErrorsAreKeptInMind(t *testing.T) {
	t.Parallel()
	l := newLimited(t)
	for i := range 101 {
		l.log(0, slog.LevelError, "sign", fmt.Sprint(i))
	}
	l.log(time.Second, slog.LevelError, "sign", "0")
	if n := strings.Count(l.logs.String(), "\n"); n != 101 {
		t.Errorf("%d lines, want 101: the first error was forgotten", n)
	}
	l.log(time.Second, slog.LevelError, "sign", "101")
	l.log(time.Second, slog.LevelError, "sign", "0")
	if n := strings.Count(l.logs.String(), "\n"); n != 103 {
		t.Errorf("%d lines, want 103: more errors are kept than a hundred", n)
	}
}
