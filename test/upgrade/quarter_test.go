// SPDX-License-Identifier: Apache-2.0

//go:build replay

package upgrade

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The quarter, with four schedules. It prints the tables of docs/verification.md.
func TestAQuarterOfReleases(t *testing.T) {
	var upgrades, costs strings.Builder
	for _, every := range []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour, day} {
		t.Run(short(every), func(t *testing.T) {
			r := newReplay(t, every, quarter)
			r.replay(t)
			r.compare(t)
			r.measureQuiet(t)
			r.printUpgrades(&upgrades)
			r.printCost(t, &costs)
		})
	}
	fmt.Print(upgradesHeader, upgrades.String(), "\n", costHeader, costs.String())
}
