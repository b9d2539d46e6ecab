// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rounds returns a round that has these results one after the other, the last for ever.
func rounds(t *testing.T, results ...[]Result) (round func(context.Context) ([]Result, error), count *int) {
	t.Helper()
	count = new(int)
	return func(context.Context) ([]Result, error) {
		*count++
		return results[min(*count, len(results))-1], nil
	}, count
}

func result(name string, s Status) Result {
	return Result{Check: Check{Group: "cluster", Name: name}, Finding: Finding{Status: s}}
}

func TestWait(t *testing.T) {
	good, bad, unknown := []Result{result("api", OK), result("guard", Warning), result("dns", Skipped)}, []Result{result("api", OK), result("pods", Failed)}, []Result{result("api", Unknown)}
	consequence := result("rewrite", Unknown)
	consequence.Cause = "cluster/pods"
	for name, tc := range map[string]struct {
		limit   time.Duration
		results [][]Result
		rounds  int
		waited  time.Duration
		log     string
	}{
		"good at once":                  {time.Minute, [][]Result{good}, 1, 0, ""},
		"good later":                    {time.Minute, [][]Result{bad, unknown, good}, 3, 2 * waitInterval, "failed: cluster/pods; checking again in 5s, for at most 1m0s\nunknown: cluster/api; checking again in 5s, for at most 55s"},
		"never good":                    {12 * time.Second, [][]Result{bad}, 4, 12 * time.Second, "failed: cluster/pods; checking again in 5s, for at most 12s\nfailed: cluster/pods; checking again in 5s, for at most 7s\nfailed: cluster/pods; checking again in 2s, for at most 2s"},
		"without a wait":                {0, [][]Result{bad, good}, 1, 0, ""},
		"a cause, and its consequences": {time.Second, [][]Result{{result("pods", Failed), consequence, result("api", Unknown)}}, 2, time.Second, "failed: cluster/pods; unknown: cluster/api; checking again in 1s, for at most 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				round, count := rounds(t, tc.results...)
				var log []string
				begin := time.Now()
				results, err := Wait(t.Context(), tc.limit, func(s string) { log = append(log, s) }, round)
				if err != nil || *count != tc.rounds || time.Since(begin) != tc.waited || strings.Join(log, "\n") != tc.log {
					t.Errorf("%d rounds in %s (%v), want %d in %s; log\n%s\nwant\n%s", *count, time.Since(begin), err, tc.rounds, tc.waited, strings.Join(log, "\n"), tc.log)
				}
				if last := tc.results[min(tc.rounds, len(tc.results))-1]; len(results) != len(last) || results[0].Status != last[0].Status {
					t.Errorf("%+v are not the results of the last round", results)
				}
			})
		})
	}
}

func TestWaitEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no such check")
		if _, err := Wait(t.Context(), time.Minute, func(s string) { t.Error(s) }, func(context.Context) ([]Result, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		round, count := rounds(t, []Result{result("pods", Failed)})
		results, err := Wait(ctx, time.Hour, func(string) { cancel() }, round)
		if !errors.Is(err, context.Canceled) || *count != 1 || len(results) != 1 {
			t.Errorf("%d rounds, %v, %v", *count, results, err)
		}
	})
}
