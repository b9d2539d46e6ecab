// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated && story

package isolated

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

const storyPage = "docs/guide/story.md"

// commandTimeout is longer than any command of the story takes.
const commandTimeout = 5 * time.Minute

// transcript runs commands on a workstation and writes the page that shows them.
type transcript struct {
	work    *workstation
	page    strings.Builder
	isShown bool // commands are being shown: the fence is open
	begin   time.Time
}

// chapter begins a part of the page, with what is about to be seen.
func (s *transcript) chapter(title, text string) { s.tell("## %s\n\n%s", title, text) }

// tell adds a paragraph.
func (s *transcript) tell(format string, args ...any) {
	if s.isShown {
		s.page.WriteString("```\n")
	}
	s.isShown = false
	fmt.Fprintf(&s.page, "\n"+format+"\n", args...)
}

// sh runs a line of shell as the operator. The page has the line, how long it took, and
// those lines of the output that match one of the patterns.
func (s *transcript) sh(t *testing.T, line string, show ...string) string {
	t.Helper()
	return s.exit(t, 0, line, show...)
}

// exit is sh for a command that ends with another code.
func (s *transcript) exit(t *testing.T, want int, line string, show ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(testCtx, commandTimeout)
	defer cancel()
	cmd := s.work.command(ctx, "sh", "-euc", line)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	if code := exitCode(t, cmd); code != want {
		t.Fatalf("%s: exit code %d, want %d\n%s", line, code, want, &out)
	}
	s.show(line, out.String(), time.Since(begin), show)
	return out.String()
}

// show adds a command to the page, with its time if that is a second or more.
func (s *transcript) show(line, output string, took time.Duration, patterns []string) {
	if !s.isShown {
		s.page.WriteString("\n```console story\n")
	}
	s.isShown = true
	s.page.WriteString("$ " + strings.ReplaceAll(line, "\n", "\n  "))
	if took >= time.Second {
		fmt.Fprintf(&s.page, "%s%s", timeMark, took.Round(time.Second))
	}
	s.page.WriteString("\n")
	for l := range strings.Lines(output) {
		l = strings.TrimRight(l, "\n")
		if slices.ContainsFunc(patterns, func(p string) bool { return regexp.MustCompile(p).MatchString(l) }) {
			s.page.WriteString(l + "\n")
		}
	}
}

// timeMark is before the time of a command.
const timeMark = "   # "

// compare compares the chapters and the commands with those of the page, or writes the page
// with the flag -update. Times and output of another run differ.
func (s *transcript) compare(t *testing.T, head string) {
	t.Helper()
	text := head + s.page.String()
	file := filepath.Join(n.Root, storyPage)
	if golden.Update() {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want, got := plot(string(page)), plot(text); !slices.Equal(got, want) {
		t.Errorf("%s tells another story: update it with make story UPDATE=1\n--- page\n%s\n--- this run\n%s", storyPage, strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// plot is what does not differ between two runs: the chapters and the commands.
func plot(page string) (lines []string) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "## ") || strings.HasPrefix(line, "$ ") {
			line, _, _ = strings.Cut(line, timeMark)
			lines = append(lines, identifiers.ReplaceAllString(strings.TrimSpace(line), "ID"))
		}
	}
	return lines
}

// identifiers are those that AWS gives, and addresses.
var identifiers = regexp.MustCompile(`\b(vpce|vpc|subnet|rtb|sg)-[0-9a-f]+\b|127\.0\.0\.1:\d+`)
