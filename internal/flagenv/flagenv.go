// SPDX-License-Identifier: Apache-2.0

// Package flagenv gives every command-line flag a second source, the
// environment: --log-level is PRIVATELINK_LOG_LEVEL. A given flag wins.
package flagenv

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Set takes the flags that were not given from the environment. An empty
// variable counts as absent.
func Set(flags *pflag.FlagSet, getenv func(string) string) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "PRIVATELINK_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := getenv(name); v != "" && !f.Changed && err == nil {
			if e := flags.Set(f.Name, v); e != nil {
				err = fmt.Errorf("%s: %w", name, e)
			}
		}
	})
	return err
}
