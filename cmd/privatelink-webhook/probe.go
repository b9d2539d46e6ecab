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

const probeUsage = `privatelink-webhook probe looks at hosts from where it runs, and prints what it saw
as JSON: addresses, TCP, the TLS chain, times. It is what privatelink doctor --probe
runs in the cluster. What fails is in the report, and no error.

Usage: privatelink-webhook probe HOST:PORT...
`

// runProbe prints the report. Only wrong usage and a broken pipe are errors:
// a pod that fails tells less than its report.
func runProbe(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return usageError{errors.New("probe: want HOST:PORT..., such as api.cast.ai:443; see probe --help")}
	}
	var targets []probe.Target
	for _, arg := range args {
		switch {
		case arg == "--help" || arg == "-h":
			fmt.Fprint(stdout, probeUsage)
			return pflag.ErrHelp
		case strings.HasPrefix(arg, "-"):
			return usageError{fmt.Errorf("probe: unknown flag %s; see probe --help", arg)}
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
