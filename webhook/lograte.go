// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// The rates of lines that every pod of the cluster can cause. Lines about requests
// that are no reviews are few in a sound cluster. A cluster that is restored
// creates some hundreds of pods at once, each with a line of its review.
const (
	clientLinesPerSecond, clientLinesBurst = 1, 20
	reviewLinesPerSecond, reviewLinesBurst = 20, 1000
)

// rateLimited drops records above the rate. The next record that is written has
// their number.
type rateLimited struct {
	slog.Handler
	limiter *rate.Limiter
	dropped *atomic.Int64
}

func limitRate(log *slog.Logger, perSecond rate.Limit, burst int) *slog.Logger {
	return slog.New(rateLimited{log.Handler(), rate.NewLimiter(perSecond, burst), new(atomic.Int64)})
}

// Handle implements slog.Handler.
func (h rateLimited) Handle(ctx context.Context, r slog.Record) error {
	if !h.limiter.Allow() {
		h.dropped.Add(1)
		return nil
	}
	if n := h.dropped.Swap(0); n > 0 {
		r.AddAttrs(slog.Int64("suppressed", n))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h rateLimited) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

// WithGroup implements slog.Handler.
func (h rateLimited) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}
