// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestSuggestions(t *testing.T) {
	for name, tc := range map[string]struct {
		args      []string
		want, not string
	}{
		"a command":              {[]string{"mirorr"}, `unknown command "mirorr" for "privatelink" (did you mean mirror?): see privatelink --help`, ""},
		"a part of a command":    {[]string{"imag"}, "did you mean images?", ""},
		"another word":           {[]string{"frobnicate"}, `unknown command "frobnicate"`, "did you mean"},
		"a command of a command": {[]string{"certs", "rest"}, "did you mean reset?): see privatelink certs --help", ""},
		"a flag":                 {[]string{"mirror", "--regstry", "x"}, "unknown flag: --regstry (did you mean --registry?): see privatelink mirror --help", ""},
		"a flag with a value":    {[]string{"mirror", "--dryrun=true"}, "did you mean --dry-run?", ""},
		"another flag":           {[]string{"mirror", "--frobnicate"}, "unknown flag: --frobnicate", "did you mean"},
		"a short flag":           {[]string{"mirror", "-x"}, "unknown shorthand flag: 'x'", "did you mean"},
		"a flag of helm's":       {[]string{"install", "--wait"}, "install prints the bundle: after kubectl apply, wait for the webhook with: privatelink doctor --only cluster --wait 5m", "did you mean"},
		"a flag of few letters":  {[]string{"mirror", "--xy"}, "unknown flag: --xy", "did you mean"},
		"an invalid value":       {[]string{"mirror", "--parallel", "x"}, `invalid argument "x" for "--parallel"`, "did you mean"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t, nil, "", tc.args...)
			if code != 2 || !strings.Contains(stderr, tc.want) || tc.not != "" && strings.Contains(stderr, tc.not) {
				t.Errorf("code %d, %s, want %q and not %q", code, stderr, tc.want, tc.not)
			}
		})
	}
}
