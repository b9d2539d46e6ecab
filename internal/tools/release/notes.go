// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// notes returns the section of a version in a changelog with headings such as
// "## v0.1.0 - 2026-12-01". Paragraphs and list items become one line each, because
// GitHub shows each end of a line in a release as one.
func notes(changelog, version string, snapshot bool) (string, error) {
	var out strings.Builder
	found := false
	for line := range strings.Lines(changelog) {
		line = strings.TrimRight(line, "\r\n")
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			if found {
				break
			}
			name, date, _ := strings.Cut(heading, " - ")
			if found = name == version; found {
				if _, err := time.Parse(time.DateOnly, date); err != nil && !snapshot {
					return "", fmt.Errorf("the section %q has no date: write it as %q", line, "## "+version+" - 2006-01-02")
				}
			}
			continue
		}
		if found {
			appendLine(&out, line)
		}
	}
	if !found {
		return "", fmt.Errorf("no section %q: add it before the release", "## "+version+" - 2006-01-02")
	}
	text := strings.TrimSpace(out.String())
	if text == "" {
		return "", errors.New("the section of " + version + " is empty")
	}
	return text + "\n", nil
}

// appendLine appends a line, to the one before if it continues that.
func appendLine(out *strings.Builder, line string) {
	text := strings.TrimSpace(line)
	begins := text == "" || strings.HasPrefix(text, "- ") || strings.HasPrefix(text, "#")
	if before := out.String(); !begins && before != "" && !strings.HasSuffix(before, "\n\n") {
		kept := strings.TrimSuffix(before, "\n")
		out.Reset()
		out.WriteString(kept + " " + text + "\n")
		return
	}
	out.WriteString(line + "\n")
}
