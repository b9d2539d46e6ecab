// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// quietly gives cert-manager a logger through ctx, where it looks for one.
//
// It reports each retry as an error and each routine step at Info; with a retry
// four times a second that buries everything else. So its errors become warnings,
// a repeated one at most once a minute, and the rest is Debug.
func quietly(ctx context.Context, log *slog.Logger) context.Context {
	h := &quiet{Handler: log.Handler(), state: &repeats{last: map[string]time.Time{}}}
	return logr.NewContext(ctx, logr.FromSlogHandler(h))
}

type quiet struct {
	slog.Handler
	state *repeats
}

type repeats struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (q *quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, q.level(l))
}

func (q *quiet) level(l slog.Level) slog.Level {
	if l >= slog.LevelError {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = q.level(r.Level)
	if r.Level == slog.LevelWarn && q.state.recent(r) {
		r.Level = slog.LevelDebug
	}
	if !q.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

func (q *quiet) WithAttrs(as []slog.Attr) slog.Handler {
	return &quiet{q.Handler.WithAttrs(as), q.state}
}

func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{q.Handler.WithGroup(name), q.state}
}

// recent reports whether the same message with the same error was let through
// within the last minute, and keeps it in mind otherwise.
func (s *repeats) recent(r slog.Record) bool {
	key := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			key += a.Value.String()
		}
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Time.Sub(s.last[key]) < time.Minute {
		return true
	}
	if len(s.last) > 100 { // errors that differ each time
		clear(s.last)
	}
	s.last[key] = r.Time
	return false
}
