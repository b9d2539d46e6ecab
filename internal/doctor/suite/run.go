// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"io"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/target"
)

// JUnit is a format of reports for CI systems.
const JUnit output.Format = "junit"

// Run runs the selected checks and writes a report to w. The error carries the
// exit code: a failed check takes precedence over an unknown one.
func Run(ctx context.Context, w io.Writer, format output.Format, o Options) error {
	if o.Wait < 0 {
		return exitcode.Usagef("--wait %s: give a time that is not negative", o.Wait)
	}
	var of target.Target
	results, err := doctor.Wait(ctx, o.Wait, o.warn, func(ctx context.Context) (results []doctor.Result, err error) {
		results, of, err = o.round(ctx)
		return results, err
	})
	if err != nil {
		return err
	}
	if err := write(w, format, of, results); err != nil {
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
func (o Options) round(ctx context.Context) (results []doctor.Result, of target.Target, err error) {
	s, err := New(ctx, o)
	if err != nil {
		return nil, of, err
	}
	defer s.Close()
	checks, err := s.Checks(ctx)
	if err != nil {
		return nil, of, err
	}
	results, err = doctor.Run(ctx, checks, s.Run)
	if ctx.Err() == nil { // else the error says that it was interrupted
		err = exitcode.AsUsage(err)
	}
	return results, s.Target(), err
}

func write(w io.Writer, format output.Format, of target.Target, results []doctor.Result) error {
	switch format {
	case output.Text:
		return doctor.Text(w, of, results)
	case JUnit:
		return doctor.JUnit(w, of, results)
	}
	return doctor.Document(w, format, of, results)
}
