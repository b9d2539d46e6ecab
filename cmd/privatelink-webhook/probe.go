// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/doctor/probe"
)

const probeUsage = `Connect to hosts, and print the results as JSON: addresses, TCP, the TLS chain, times.
privatelink doctor --probe runs this in the cluster. Connections that fail are part of
the report and no errors.

Exit codes:
  0  the report was printed
  1  the report could not be printed
  2  invalid usage

Usage:
  privatelink-webhook probe HOST:PORT...
`

// runProbe prints the report. Only wrong usage and a broken pipe are errors:
// targets that cannot be reached are part of the report.
func runProbe(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return usageError{errors.New("probe: want HOST:PORT..., such as api.cast.ai:443: see probe --help")}
	}
	var targets []probe.Target
	for _, arg := range args {
		switch {
		case arg == "--help" || arg == "-h":
			fmt.Fprint(stdout, probeUsage)
			return pflag.ErrHelp
		case strings.HasPrefix(arg, "-"):
			return usageError{fmt.Errorf("probe: unknown flag %s: see probe --help", arg)}
		}
		t, err := probe.Parse(arg)
		if err != nil {
			return usageError{fmt.Errorf("probe: %w", err)}
		}
		targets = append(targets, t)
	}
	b, err := probe.Encode(probe.Run(ctx, targets))
	if err != nil {
		return err
	}
	_, err = stdout.Write(b)
	return err
}
