// SPDX-License-Identifier: Apache-2.0

// Package doctor defines diagnostic checks, runs them, and reports their
// results. The checks themselves are in the packages below, one for each group.
//
// Checks only read. A check that cannot run is Unknown, never OK: a report
// without failures must not be mistaken for a healthy cluster.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Status is the outcome of a check.
type Status string

// The outcomes, by increasing severity.
const (
	OK      Status = "ok"
	Skipped Status = "skipped" // not requested; Found names the flag that enables it
	Warning Status = "warning" // works now, and may fail later
	Unknown Status = "unknown" // could not be determined; Found gives the reason
	Failed  Status = "failed"
)

// severities are the outcomes in the order of the constants.
var severities = [...]Status{OK, Skipped, Warning, Unknown, Failed}

// Check verifies one expectation.
type Check struct {
	// Group and Name identify the check: "cluster", "ca-bundle".
	Group, Name string
	// What is expected, as a sentence that is true when the check passes.
	What string
	// Why it matters: the consequence of a failure.
	Why string
	// Needs are the IDs of the checks that must not fail before this one runs.
	// One cause is then reported once, and not once for each consequence. An unknown
	// check does not stop those that need it, unless it is one of Access.
	Needs []string
	// Access is set if the check is whether something can be asked at all: while it is
	// unknown, the checks that need it cannot run.
	Access bool
	// Silence is the remedy if nothing answers until the deadline.
	Silence string
	// Elements are what the check concerns in the picture of the network.
	Elements []Element
	// Run performs the check. Its context has a deadline. It changes nothing.
	Run func(context.Context) Finding
}

// ID returns the name in reports and flags: "cluster/ca-bundle".
func (c Check) ID() string { return c.Group + "/" + c.Name }

// Finding is the result of running a check.
type Finding struct {
	Status Status
	// Found summarizes the observed state in one line.
	Found string
	// Details lists the objects concerned.
	Details []string
	// Remedy is a command or configuration that corrects the fault. It is empty
	// if there is none.
	Remedy string
	// Elements are those of the check's elements that the finding concerns; all if there
	// are none.
	Elements []Element
}

// OKf returns a finding with status OK.
func OKf(format string, args ...any) Finding {
	return Finding{Status: OK, Found: fmt.Sprintf(format, args...)}
}

// Failf returns a finding with status Failed.
func Failf(remedy, format string, args ...any) Finding {
	return Finding{Status: Failed, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Warnf returns a finding with status Warning.
func Warnf(remedy, format string, args ...any) Finding {
	return Finding{Status: Warning, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Unknownf returns a finding with status Unknown; the remedy makes the check
// possible.
func Unknownf(remedy, format string, args ...any) Finding {
	return Finding{Status: Unknown, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Skippedf returns a finding with status Skipped.
func Skippedf(format string, args ...any) Finding {
	return Finding{Status: Skipped, Found: fmt.Sprintf(format, args...)}
}

// With returns the finding with more details.
func (f Finding) With(details ...string) Finding {
	f.Details = append(f.Details, details...)
	return f
}

// At returns the finding with more elements.
func (f Finding) At(elements ...Element) Finding {
	f.Elements = append(f.Elements, elements...)
	return f
}

// Error is why something that a check needs is not known, with a remedy.
type Error struct {
	Err    error
	Remedy string
}

// NewError returns an Error.
func NewError(err error, remedy string) error { return &Error{err, remedy} }

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// RemedyFor returns the remedy of an Error, and the default for other errors.
func RemedyFor(err error, byDefault string) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Remedy
	}
	return byDefault
}

// List joins at most limit words, and counts the rest.
func List(words []string, limit int) string {
	if len(words) <= limit {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:limit], ", "), len(words)-limit)
}

// WithSilence returns checks whose remedy for a missing answer is remedy.
func WithSilence(checks []Check, remedy string) []Check {
	for i := range checks {
		checks[i].Silence = remedy
	}
	return checks
}

// Unavailable returns checks that cannot run, for want of a cluster or of
// credentials, and return f instead.
func Unavailable(checks []Check, f Finding) []Check {
	unavailable := make([]Check, len(checks))
	for i, c := range checks {
		c.Run = func(context.Context) Finding { return f }
		unavailable[i] = c
	}
	return unavailable
}

// Distinct returns the words sorted, each once.
func Distinct(words []string) []string { return slices.Compact(slices.Sorted(slices.Values(words))) }
