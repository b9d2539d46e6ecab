// SPDX-License-Identifier: Apache-2.0

// Package flagenv gives every command-line flag a second source, the
// environment: --log-level is PRIVATELINK_LOG_LEVEL. A given flag wins.
package flagenv

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// exclude is the annotation of a flag without a variable.
const exclude = "privatelink.cast.ai/no-variable"

// Exclude leaves a flag to the command line. Its name has another meaning in other
// commands, and one variable cannot have both.
func Exclude(flags *pflag.FlagSet, name string) { _ = flags.SetAnnotation(name, exclude, nil) }

// IsExcluded reports whether a flag has no variable.
func IsExcluded(f *pflag.Flag) bool {
	_, excluded := f.Annotations[exclude]
	return excluded || f.Name == "help"
}

// Set takes the flags that were not given from the environment. An empty
// variable counts as absent.
func Set(flags *pflag.FlagSet, getenv func(string) string) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		if IsExcluded(f) {
			return
		}
		name := "PRIVATELINK_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := getenv(name); v != "" && !f.Changed && err == nil {
			if e := flags.Set(f.Name, v); e != nil {
				err = fmt.Errorf("%s: %w", name, e)
			}
		}
	})
	return err
}
