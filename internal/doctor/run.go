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

// Options select checks and limit their time.
type Options struct {
	// Only and Skip name groups ("network") or checks ("network/private-dns").
	// Without Only, all checks are selected.
	Only, Skip []string
	// Timeout of each check. The default is 8 seconds.
	Timeout time.Duration
}

// Result is a check and its finding.
type Result struct {
	Check
	Finding
	// Cause is the ID of the check because of which this one did not run, if any.
	Cause string
	Took  time.Duration
}

// Run runs checks concurrently, each after those that it needs, and returns the
// results in the order of the checks. A name in Only or Skip that matches no
// check is an error.
func Run(ctx context.Context, checks []Check, o Options) ([]Result, error) {
	selected, err := selectChecks(checks, o)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = 8 * time.Second
	}
	results := make([]Result, len(selected))
	done := make([]chan struct{}, len(selected))
	index := make(map[string]int, len(selected))
	for i, c := range selected {
		done[i], index[c.ID()] = make(chan struct{}), i
	}
	var group sync.WaitGroup
	for i, c := range selected {
		group.Go(func() {
			defer close(done[i])
			for _, need := range c.Needs {
				j, isSelected := index[need]
				if !isSelected {
					continue
				}
				<-done[j]
				if results[j].blocks() {
					results[i] = Result{Check: c, Finding: Unknownf("", "not run, because of %s", need), Cause: need}
					return
				}
			}
			results[i] = runCheck(ctx, c, o.Timeout)
		})
	}
	group.Wait()
	return results, context.Cause(ctx)
}

// blocks reports whether the checks that need this one cannot run.
func (r Result) blocks() bool {
	return r.Status == Failed || r.Cause != "" || r.Status == Unknown && r.Access
}

// runCheck runs a check, and abandons one that ignores its deadline.
func runCheck(ctx context.Context, c Check, timeout time.Duration) Result {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	finding := make(chan Finding, 1)
	go func() { finding <- c.Run(ctx) }()
	r := Result{Check: c}
	select {
	case r.Finding = <-finding:
	case <-ctx.Done():
		select { // select picks at random if both channels are ready
		case r.Finding = <-finding:
		default:
			r.Finding = Unknownf("increase --timeout", "no answer within %s", timeout)
		}
	}
	if r.Status == Unknown && c.Silence != "" && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.Remedy = c.Silence
	}
	r.Took = time.Since(begin)
	return r
}

// selectChecks applies Only and Skip. A check may need only checks before it,
// which rules out cycles.
func selectChecks(checks []Check, o Options) ([]Check, error) {
	var errs []error
	for _, name := range slices.Concat(o.Only, o.Skip) {
		if !slices.ContainsFunc(checks, func(c Check) bool { return matches(name, c) }) {
			errs = append(errs, fmt.Errorf("%q: no such check or group: there are %s", name, known(checks)))
		}
	}
	selected := slices.DeleteFunc(slices.Clone(checks), func(c Check) bool {
		isNamed := func(name string) bool { return matches(name, c) }
		return len(o.Only) > 0 && !slices.ContainsFunc(o.Only, isNamed) || slices.ContainsFunc(o.Skip, isNamed)
	})
	seen := map[string]bool{}
	for _, c := range selected {
		for _, need := range c.Needs {
			if !seen[need] && slices.ContainsFunc(selected, func(o Check) bool { return o.ID() == need }) {
				errs = append(errs, fmt.Errorf("%s needs %s, which must precede it", c.ID(), need))
			}
		}
		if seen[c.ID()] {
			errs = append(errs, fmt.Errorf("duplicate check %s", c.ID()))
		}
		seen[c.ID()] = true
	}
	return selected, errors.Join(errs...)
}

func matches(name string, c Check) bool { return name == c.Group || name == c.ID() }

func known(checks []Check) string {
	var groups []string
	for _, c := range checks {
		if !slices.Contains(groups, c.Group) {
			groups = append(groups, c.Group)
		}
	}
	return "the groups " + strings.Join(groups, ", ") + ", and checks such as " + checks[0].ID()
}
