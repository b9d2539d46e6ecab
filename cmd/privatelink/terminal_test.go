// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"unicode"
)

// Names and images of a manifest are whatever its author writes.
func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	const hostile = `apiVersion: v1
kind: Pod
metadata: {name: "p\e[2K\u202e"}
spec: {containers: [{name: c, image: "a\e[31m/b"}]}
`
	for _, args := range [][]string{
		{"rewrite", "--explain", "-f", "-"}, {"images", "-f", "-"}, {"mirror", "--dry-run", "--no-webhook-image", "-f", "-"}, {"explain", "-"},
		{"rewrite", "a\x1b[31m/b"}, {"images", "--set", "\x1b]0;title\a"}, {"mirror", "--\x1b[31m"},
	} {
		_, stdout, stderr := call(t, nil, hostile, append(args, "--registry", "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai")...)
		if args[0] == "rewrite" && len(args) > 2 { // a document, not a report
			if stdout != hostile {
				t.Errorf("%q: a manifest in a pipe was changed: %q", args, stdout)
			}
			stdout = ""
		}
		for stream, text := range map[string]string{"stdout": stdout, "stderr": stderr} {
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%q: %s: %q", args, stream, text[i:])
			}
		}
		if stdout+stderr == "" {
			t.Errorf("%q: no message", args)
		}
	}
}
