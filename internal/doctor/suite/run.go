// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"io"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/page"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/output"
)

// Run runs the selected checks and writes a report to w. The error carries the
// exit code: a failed check takes precedence over an unknown one.
func Run(ctx context.Context, w io.Writer, format output.Format, o Options) error {
	if o.Wait < 0 {
		return exitcode.Usagef("--wait %s: give a time that is not negative", o.Wait)
	}
	var r page.Report
	results, err := doctor.Wait(ctx, o.Wait, o.warn, func(ctx context.Context) (results []doctor.Result, err error) {
		r, err = o.round(ctx, format)
		return r.Results, err
	})
	if err != nil {
		return err
	}
	if err := o.write(w, format, r); err != nil {
		return err
	}
	if n := doctor.Count(results, doctor.Failed); n > 0 {
		return exitcode.ActionNeededf("%d checks failed", n)
	}
	if n := doctor.Count(results, doctor.Unknown); n > 0 {
		return exitcode.AlreadyPrintedf("%d checks are unknown", n)
	}
	return nil
}

func (o Options) warn(message string) {
	if o.Warn != nil {
		o.Warn(message)
	}
}

// round runs the selected checks once, with facts of its own.
func (o Options) round(ctx context.Context, format output.Format) (r page.Report, err error) {
	s, err := New(ctx, o)
	if err != nil {
		return r, err
	}
	defer s.Close()
	checks, err := s.Checks(ctx)
	if err != nil {
		return r, err
	}
	results, err := doctor.Run(ctx, checks, s.Run)
	if ctx.Err() == nil { // else the error says that it was interrupted
		err = exitcode.AsUsage(err)
	}
	if err != nil {
		return r, err
	}
	return s.report(ctx, format, results)
}
