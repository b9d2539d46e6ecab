// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	day     = 24 * time.Hour
	quarter = 90 * day
	never   = time.Duration(1<<63 - 1)
)

const umbrella = "castai"

// perQuarter are the releases of CAST AI's charts from 2026-05-21 to 2026-08-21.
// Source: the index of https://castai.github.io/helm-charts.
var perQuarter = map[string]int{
	umbrella: 350, "castai-evictor": 85, "castai-kentroller": 52, "castai-workload-autoscaler": 45, "castai-omni-agent": 42, "castai-kvisor": 39,
	"castai-live": 29, "castai-pod-mutator": 16, "castai-agent": 15, "castai-cluster-controller": 12, "castware-operator": 8, "castai-pod-pinner": 7,
	"castai-spot-handler": 3,
}

// trackedCharts are those of perQuarter, and others without a release in the quarter.
const trackedCharts = 40

// A release is a version of a chart, and the images that it needs.
type release struct {
	chart, version string
	at             time.Duration
	// yanked is when the version is taken out of the index.
	yanked time.Duration
	images []string // repository:tag below the public registry
}

// yankedAfter is how long the version of yankedRelease is in the index.
const yankedAfter = 3 * time.Hour

var yankedRelease = map[string]int{"castai-evictor": 2, "castai-pod-mutator": 7}

// releases returns all releases in order. Those at 0 are there from the start. Charts are
// released from Monday to Friday, between 07:00 and 19:00, and the first day is a Monday.
// The umbrella has the components that are the newest when it is released.
func releases() (all []release) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, chart := range charts() {
		for v := range 3 {
			all = append(all, release{chart: chart, version: fmt.Sprintf("1.0.%d", v), yanked: never})
		}
		times := make([]time.Duration, perQuarter[chart])
		for i := range times {
			times[i] = workingTime(random)
		}
		slices.Sort(times)
		for i, at := range times {
			r := release{chart: chart, version: fmt.Sprintf("1.1.%d", i), at: at, yanked: never}
			if n, ok := yankedRelease[chart]; ok && n == i {
				r.yanked = at + yankedAfter
			}
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b release) int { return cmp.Compare(a.at, b.at) })
	current := map[string]string{} // image by component
	for i, r := range all {
		if r.chart != umbrella {
			current[r.chart] = "castai/" + r.chart + ":v" + r.version
			all[i].images = []string{current[r.chart]}
			continue
		}
		for chart := range perQuarter {
			if image := current[chart]; image != "" {
				all[i].images = append(all[i].images, image)
			}
		}
		slices.Sort(all[i].images)
	}
	return all
}

func workingTime(random *rand.Rand) time.Duration {
	for {
		at := time.Duration(random.Int64N(int64(quarter/time.Second))) * time.Second
		if weekday, hour := int(at/day)%7, at%day/time.Hour; weekday < 5 && hour >= 7 && hour < 19 {
			return at
		}
	}
}

// An event is a release that appears in the index or is taken out of it.
type event struct {
	release
	at     time.Duration
	isYank bool
}

func events(all []release) (events []event) {
	for _, r := range all {
		events = append(events, event{r, r.at, false})
		if r.yanked != never {
			events = append(events, event{r, r.yanked, true})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return events
}

// charts are the names of all tracked charts, the umbrella last.
func charts() (names []string) {
	for name := range perQuarter {
		if name != umbrella {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for i := len(names); i < trackedCharts-1; i++ {
		names = append(names, fmt.Sprintf("castai-quiet-%d", i))
	}
	return append(names, umbrella)
}
