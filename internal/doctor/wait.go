// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// waitInterval is the time between two rounds.
const waitInterval = 5 * time.Second

// Wait repeats round until no check fails or is unknown, or until the time is over, and
// returns the results of the last round. No round begins after the time, and one that has
// begun is completed. log receives a line for each round that is not the last. An error of
// a round ends the wait.
func Wait(ctx context.Context, limit time.Duration, log func(string), round func(context.Context) ([]Result, error)) ([]Result, error) {
	end := time.Now().Add(limit)
	for {
		results, err := round(ctx)
		left := time.Until(end)
		if err != nil || left <= 0 || Count(results, Failed)+Count(results, Unknown) == 0 {
			return results, err
		}
		pause := min(waitInterval, left)
		log(fmt.Sprintf("%s; checking again in %s, for at most %s", pending(results), pause.Round(time.Second), left.Round(time.Second)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return results, context.Cause(ctx)
		}
	}
}

// pending names the checks that have to change.
func pending(results []Result) string {
	var failed, unknown []string
	for _, r := range results {
		switch {
		case r.Status == Failed:
			failed = append(failed, r.ID())
		case r.Status == Unknown && r.Cause == "":
			unknown = append(unknown, r.ID())
		}
	}
	var parts []string
	if len(failed) > 0 {
		parts = append(parts, "failed: "+List(failed, 3))
	}
	if len(unknown) > 0 {
		parts = append(parts, "unknown: "+List(unknown, 3))
	}
	return strings.Join(parts, "; ")
}
