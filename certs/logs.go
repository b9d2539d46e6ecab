// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// withRateLimitedLogger returns a context with the logger that cert-manager's
// packages use.
//
// They log each retry, up to four a second, as an error, and each routine step at
// Info. The logger turns errors into warnings, a repeated one at most once a
// minute, and everything else into Debug.
func withRateLimitedLogger(ctx context.Context, log *slog.Logger) context.Context {
	h := &rateLimitedHandler{Handler: log.Handler(), state: &repeats{last: map[string]time.Time{}}}
	return logr.NewContext(ctx, logr.FromSlogHandler(h))
}

type rateLimitedHandler struct {
	slog.Handler
	state *repeats
}

type repeats struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (h *rateLimitedHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, h.level(l))
}

func (h *rateLimitedHandler) level(l slog.Level) slog.Level {
	if l >= slog.LevelError {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (h *rateLimitedHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = h.level(r.Level)
	if r.Level == slog.LevelWarn && h.state.recent(r) {
		r.Level = slog.LevelDebug
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h *rateLimitedHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return &rateLimitedHandler{h.Handler.WithAttrs(as), h.state}
}

func (h *rateLimitedHandler) WithGroup(name string) slog.Handler {
	return &rateLimitedHandler{h.Handler.WithGroup(name), h.state}
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
