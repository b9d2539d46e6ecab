// SPDX-License-Identifier: Apache-2.0

// Package remedy finds the commands in what the doctor tells a user to do, for tests that
// execute them as printed.
package remedy

import "strings"

// Commands returns the commands of kubectl and privatelink in a remedy, which follow words
// or are lines of their own, with the documents that they read.
func Commands(text string) string {
	var out []string
	isDocument := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		start := -1
		for _, program := range []string{"kubectl ", "privatelink "} {
			if i := strings.Index(line, program); i >= 0 && (start < 0 || i < start) {
				start = i
			}
		}
		switch {
		case isDocument:
			out = append(out, line)
			isDocument = line != "EOF"
		case start >= 0:
			out = append(out, line[start:])
			isDocument = strings.HasSuffix(line, "<<EOF")
		}
	}
	return strings.Join(out, "\n")
}
