// SPDX-License-Identifier: Apache-2.0

//go:build replay

package upgrade

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"
)

// printUpgrades prints a row for each lag.
func (r *replay) printUpgrades(w io.Writer) {
	ideal := r.ideal()
	for _, lag := range lags {
		ours, best := r.count(lag, r.ours), r.count(lag, ideal)
		fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %d + %d | %s |\n", short(r.every), short(lag), ours.total, ours.missed, ours.inOutage, best.missed, best.inOutage, short(ours.longest))
	}
}

const upgradesHeader = "| run every | lag | upgrades | missed an image | missed one in an outage | ideal mirror | longest wait |\n|---|---|---|---|---|---|---|\n"

// printCost prints what the runs cost.
func (r *replay) printCost(t *testing.T, w io.Writer) {
	t.Helper()
	days := float64(r.length) / float64(day)
	perDay := func(u traffic) string {
		return fmt.Sprintf("%.0f, %.0f kB", float64(u.requests)/days, float64(u.bytes)/days/1000)
	}
	fmt.Fprintf(w, "| %s | %d | %d | %s | %s | %s | %d, %d kB | %d + %d, %d ms |\n", short(r.every), r.runs, r.failed, perDay(r.used.charts), perDay(r.used.public), perDay(r.used.private),
		len(r.locked), r.lockSize(t)/1000, r.quiet.used.charts.requests, r.quiet.used.private.requests, r.quiet.took.Milliseconds())
}

const costHeader = "| run every | runs | failed | chart repository, a day | public registry, a day | ECR, a day | lock | run without news |\n|---|---|---|---|---|---|---|---|\n"

// short is a duration in its largest unit.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}

// lockSize returns the size of the lock in bytes.
func (r *replay) lockSize(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(r.lockFile)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
