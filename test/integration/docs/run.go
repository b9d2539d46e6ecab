// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Run runs the fences of one page that carry a mark, in one shell (bash -euo
// pipefail) in dir with the environment env, and compares the output of console
// fences. It returns the number of commands that ran, a sh fence being one.
func Run(ctx context.Context, fences []Fence, mark, dir string, env []string) (commands int, err error) {
	outputs, err := os.MkdirTemp("", "docs-output-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(outputs)
	var script strings.Builder
	var at []Fence // by command
	var steps []step
	script.WriteString("set -euo pipefail\n")
	for _, f := range fences {
		if f.Mark != mark {
			continue
		}
		for _, s := range f.steps() {
			// A sh fence runs in the shell itself, so that its variables stay.
			fmt.Fprintf(&script, "echo %d >%s/last\n{\n%s\n} >%s/%d 2>&1", len(steps), outputs, s.command, outputs, len(steps))
			if s.exit != 0 {
				fmt.Fprintf(&script, " && exit 100 || test $? = %d", s.exit)
			}
			script.WriteString("\n")
			steps, at = append(steps, s), append(at, f)
		}
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir, cmd.Env = dir, env
	cmd.WaitDelay = time.Second
	said, failed := cmd.CombinedOutput()
	output := func(i int) string {
		text, err := os.ReadFile(filepath.Join(outputs, fmt.Sprint(i)))
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	last := -1
	if text, err := os.ReadFile(filepath.Join(outputs, "last")); err == nil {
		if _, err := fmt.Sscan(string(text), &last); err != nil {
			return 0, err
		}
	}
	for i, s := range steps[:last+1] {
		if i == last && failed != nil {
			return i, fmt.Errorf("%s: %w\n%s\n--- output\n%s%s", at[i], failed, s.command, output(i), said)
		}
		if len(s.output) > 0 && !matches(s.output, output(i)) {
			return i, fmt.Errorf("%s: the page shows other output\n%s\n--- page\n%s\n--- output\n%s", at[i], s.command, strings.Join(s.output, "\n"), output(i))
		}
	}
	if failed != nil {
		return 0, fmt.Errorf("bash: %w\n%s", failed, said)
	}
	return len(steps), nil
}

// matches compares output with what a page shows of it. A line "..." stands for
// any lines, and "…" for any text within a line.
func matches(page []string, output string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range page {
		if line = strings.TrimRight(line, " "); line == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		for i, part := range strings.Split(line, "…") {
			if i > 0 {
				pattern.WriteString(".*")
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		pattern.WriteString(`[ \t]*\n`)
	}
	pattern.WriteString(`\z`)
	if output = strings.TrimRight(output, "\n"); output != "" {
		output += "\n"
	}
	return regexp.MustCompile(pattern.String()).MatchString(output)
}

// Checkout makes a folder that looks like a checkout after make build, for
// commands that change files: a copy of deploy, links to everything else, and
// bin with the programs of the folder bin.
func Checkout(root, bin, dir string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "deploy" || e.Name() == "bin" {
			continue
		}
		if err := os.Symlink(filepath.Join(root, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS(filepath.Join(root, "deploy")))
}
