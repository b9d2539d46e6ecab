// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheLogIsLimitedAndCountsWhatItDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		limited := limitRate(slog.New(slog.NewTextHandler(&log, nil)).With("a", 1).WithGroup("g"), 1, 3).With("b", 2)
		limited.Debug("not enabled: takes nothing from the limit")
		for range 10 {
			limited.Info("x")
		}
		if n := strings.Count(log.String(), "msg=x a=1 g.b=2"); n != 3 {
			t.Errorf("%d lines, want 3:\n%s", n, &log)
		}
		time.Sleep(time.Second)
		limited.Info("y")
		if !strings.Contains(log.String(), "msg=y a=1 g.b=2 g.suppressed=7") {
			t.Errorf("the log:\n%s", &log)
		}
		time.Sleep(time.Second)
		limited.Info("z")
		if strings.Count(log.String(), "suppressed") != 1 {
			t.Errorf("the log:\n%s", &log)
		}
	})
}
