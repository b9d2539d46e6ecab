// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"io"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/exitcode"
)

// formats are the report formats by the value of --output.
var formats = map[string]func(io.Writer, []doctor.Result) error{"": doctor.Text, "json": doctor.JSON, "junit": doctor.JUnit}

// Run runs the selected checks and writes a report to w. The error carries the
// exit code: a failed check takes precedence over an unknown one.
func Run(ctx context.Context, w io.Writer, output string, o Options) error {
	write, ok := formats[output]
	if !ok {
		return exitcode.Usagef("--output %q: use json or junit", output)
	}
	s, err := New(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	checks, err := s.Checks(ctx)
	if err != nil {
		return err
	}
	results, err := doctor.Run(ctx, checks, s.Run)
	switch {
	case ctx.Err() != nil:
		return err // interrupted
	case err != nil:
		return exitcode.AsUsage(err)
	}
	if err := write(w, results); err != nil {
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

// List writes the checks that Run would run, and runs none.
func List(ctx context.Context, w io.Writer, o Options) error {
	s, err := New(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	checks, err := s.Checks(ctx)
	if err != nil {
		return err
	}
	return doctor.Explain(w, checks)
}
