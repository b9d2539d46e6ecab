// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// ClockAhead is the environment variable that sets the clock of the webhook with
// the tag WrongClock ahead, by a duration of Go. A clock belongs to a machine,
// and all programs of a node share one, so the webhook is compiled with a
// package time whose Now adds that.
const ClockAhead = "CLOCK_AHEAD"

// WrongClock is the tag of that webhook.
func (p Programs) WrongClock() string { return p.Version + "-wrong-clock" }

func (p Programs) clock(name string) string { return filepath.Join(p.Cache, "clock", name) }

const (
	timeNow      = "\tsec, nsec, mono := runtimeNow()\n"
	timeNowAhead = "\tsec, nsec, mono := runtimeNow()\n\tsec += ahead\n"
	// Now must not need what it serves, hence whole seconds in a plain variable.
	aheadSource = "package time\n\nimport \"syscall\"\n\nvar ahead = secondsAhead()\n\n" +
		"func secondsAhead() int64 {\n\ts, _ := syscall.Getenv(\"" + ClockAhead + "\")\n\td, _ := ParseDuration(s)\n\treturn int64(d / Second)\n}\n"
)

// buildWrongClock builds it, for this machine alone.
func (p Programs) buildWrongClock(ctx context.Context, flags []string) error {
	list := exec.CommandContext(ctx, "go", "env", "GOROOT")
	list.Dir = p.Root
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	now := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	text, err := os.ReadFile(now)
	if err != nil {
		return err
	}
	if strings.Count(string(text), timeNow) != 1 {
		return errors.New("time.Now of this Go is written in another way; see rightClock")
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		now: p.clock("time.go"),
		filepath.Join(filepath.Dir(now), "ahead.go"): p.clock("ahead.go"),
	}})
	if err != nil {
		return err
	}
	if err := write(map[string]string{
		p.clock("time.go"):      strings.Replace(string(text), timeNow, timeNowAhead, 1),
		p.clock("ahead.go"):     aheadSource,
		p.clock("overlay.json"): string(overlay),
	}); err != nil {
		return err
	}
	return p.build(ctx, "", p.clock(""), runtime.GOARCH, append(flags, "-overlay", p.clock("overlay.json"), "./cmd/privatelink-webhook")...)
}
