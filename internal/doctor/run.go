// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options choose which checks run, and how long one may take.
type Options struct {
	// Only and Skip name groups ("network") or checks ("network/private-dns").
	// Without Only all run.
	Only, Skip []string
	// Timeout of one check. Default 8 seconds.
	Timeout time.Duration
}

// Result is a check and what it found.
type Result struct {
	Check
	Finding
	// Cause is the check because of which this one was not run, if any.
	Cause string
	Took  time.Duration
}

// Run runs checks side by side, each after those that it needs. The results are
// in the order of the checks. A name in Only or Skip that fits no check is an
// error.
func Run(ctx context.Context, checks []Check, o Options) ([]Result, error) {
	chosen, err := choose(checks, o)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = 8 * time.Second
	}
	results := make([]Result, len(chosen))
	done := make(map[string]chan struct{}, len(chosen))
	at := make(map[string]int, len(chosen))
	for i, c := range chosen {
		done[c.ID()], at[c.ID()] = make(chan struct{}), i
	}
	var all sync.WaitGroup
	for i, c := range chosen {
		all.Go(func() {
			defer close(done[c.ID()])
			for _, need := range c.Needs {
				wait, asked := done[need]
				if !asked {
					continue // it was not wanted, and says nothing either way
				}
				<-wait
				if s := results[at[need]].Status; s == Failed || s == Unknown {
					results[i] = Result{Check: c, Finding: NotSeen("", "not looked at, because of %s", need), Cause: need}
					return
				}
			}
			results[i] = look(ctx, c, o.Timeout)
		})
	}
	all.Wait()
	return results, context.Cause(ctx)
}

// look runs a check, and gives up on one that does not heed its deadline.
func look(ctx context.Context, c Check, timeout time.Duration) Result {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found := make(chan Finding, 1)
	go func() { found <- c.Run(ctx) }()
	r := Result{Check: c}
	select {
	case r.Finding = <-found:
	case <-ctx.Done():
		select { // both may be true
		case r.Finding = <-found:
		default:
			r.Finding = NotSeen("give it longer with --timeout", "no answer: %v", ctx.Err())
		}
	}
	r.Took = time.Since(begin)
	return r
}

// choose returns the checks that are wanted.
func choose(checks []Check, o Options) ([]Check, error) {
	var errs []error
	for _, name := range slices.Concat(o.Only, o.Skip) {
		if !slices.ContainsFunc(checks, func(c Check) bool { return names(name, c) }) {
			errs = append(errs, fmt.Errorf("%q: no such check or group: there are %s", name, known(checks)))
		}
	}
	chosen := slices.DeleteFunc(slices.Clone(checks), func(c Check) bool {
		named := func(name string) bool { return names(name, c) }
		return len(o.Only) > 0 && !slices.ContainsFunc(o.Only, named) || slices.ContainsFunc(o.Skip, named)
	})
	seen := map[string]bool{}
	for _, c := range chosen {
		for _, need := range c.Needs {
			// What comes before cannot wait for what comes after: no circle.
			if !seen[need] && slices.ContainsFunc(chosen, func(o Check) bool { return o.ID() == need }) {
				errs = append(errs, fmt.Errorf("%s needs %s, which must stand before it", c.ID(), need))
			}
		}
		if seen[c.ID()] {
			errs = append(errs, fmt.Errorf("%s is there twice", c.ID()))
		}
		seen[c.ID()] = true
	}
	return chosen, errors.Join(errs...)
}

func names(name string, c Check) bool { return name == c.Group || name == c.ID() }

func known(checks []Check) string {
	var groups []string
	for _, c := range checks {
		if !slices.Contains(groups, c.Group) {
			groups = append(groups, c.Group)
		}
	}
	return "the groups " + strings.Join(groups, ", ") + ", and checks such as " + checks[0].ID()
}
