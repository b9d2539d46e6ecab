// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package cluster

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestALockIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var log strings.Builder
	unlock, err := lock(t.Context(), path, &log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path, &log); err == nil {
		t.Error("a held lock was acquired")
	}
	unlock()
	unlockSecond, err := lock(t.Context(), path, &log)
	if err != nil {
		t.Fatal(err)
	}
	unlockSecond()
	if n := strings.Count(log.String(), "waiting for another build"); n != 1 {
		t.Errorf("the wait is logged %d times, want once: %q", n, log.String())
	}
}
