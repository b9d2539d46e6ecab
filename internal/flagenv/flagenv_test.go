// SPDX-License-Identifier: Apache-2.0

package flagenv

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestSet(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		env   map[string]string
		level string
		err   string
	}{
		"the default":               {nil, nil, "info", ""},
		"from the environment":      {nil, map[string]string{"PRIVATELINK_LOG_LEVEL": "debug"}, "debug", ""},
		"a given flag wins":         {[]string{"--log-level=warn"}, map[string]string{"PRIVATELINK_LOG_LEVEL": "debug"}, "warn", ""},
		"an empty variable":         {nil, map[string]string{"PRIVATELINK_LOG_LEVEL": ""}, "info", ""},
		"without the prefix":        {nil, map[string]string{"LOG_LEVEL": "debug"}, "info", ""},
		"an invalid value":          {nil, map[string]string{"PRIVATELINK_PARALLEL": "many"}, "info", `PRIVATELINK_PARALLEL: invalid argument "many"`},
		"help":                      {nil, map[string]string{"PRIVATELINK_HELP": "maybe"}, "info", ""},
		"an excluded flag":          {nil, map[string]string{"PRIVATELINK_OUTPUT": "json"}, "info", ""},
		"a given flag hides errors": {[]string{"--parallel=1"}, map[string]string{"PRIVATELINK_PARALLEL": "many"}, "info", ""},
	} {
		t.Run(name, func(t *testing.T) {
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			flags.SetOutput(io.Discard)
			level := flags.String("log-level", "info", "")
			flags.Int("parallel", 8, "")
			flags.BoolP("help", "h", false, "")
			output := flags.String("output", "", "")
			Exclude(flags, "output")
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			err := Set(flags, func(name string) string { return tc.env[name] })
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if *output != "" {
				t.Errorf("output %q", *output)
			}
			if *level != tc.level {
				t.Errorf("log level %q, want %q", *level, tc.level)
			}
		})
	}
}
