// SPDX-License-Identifier: Apache-2.0

// Package doctor is what a check is: a small value that knows what it looks at,
// why that matters, and what to do when it is not as it should be.
//
// Checks only read. What could not be looked at is Unknown, which is never
// good news: a doctor that is green although it saw nothing does harm. The
// checks themselves are in the packages below, one for each group.
package doctor

import (
	"context"
	"fmt"
	"strings"
)

// Status is the outcome of a check.
type Status string

// The outcomes, from good to bad.
const (
	OK      Status = "ok"
	Skipped Status = "skipped" // nobody wanted it; Found says how to have it
	Warning Status = "warning" // works, and may stop to
	Unknown Status = "unknown" // could not be looked at; Found says why
	Failed  Status = "failed"
)

// Check looks at one thing.
type Check struct {
	// Group and Name together are unique: "cluster", "ca-bundle".
	Group, Name string
	// What is expected, as a sentence that is true when all is well.
	What string
	// Why it matters: what breaks otherwise.
	Why string
	// Needs are IDs of checks that make this one pointless unless they pass:
	// a cause is told once, and not again by each of its consequences.
	Needs []string
	// Run looks. It gets a context with a deadline, and changes nothing.
	Run func(context.Context) Finding
}

// ID is the name of a check for people: "cluster/ca-bundle".
func (c Check) ID() string { return c.Group + "/" + c.Name }

// Finding is what a check found.
type Finding struct {
	Status Status
	// Found is what is there, in a line.
	Found string
	// Details are lines for the one who wants more: objects, names.
	Details []string
	// Remedy is what to do: a command, a line of Terraform. Empty when all is
	// well.
	Remedy string
}

// Good is a finding without fault.
func Good(format string, args ...any) Finding {
	return Finding{Status: OK, Found: fmt.Sprintf(format, args...)}
}

// Bad is a fault, with what to do about it.
func Bad(remedy, format string, args ...any) Finding {
	return Finding{Status: Failed, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Risky is what works, and may stop to.
func Risky(remedy, format string, args ...any) Finding {
	return Finding{Status: Warning, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// NotSeen is what could not be looked at, with what would make that possible.
func NotSeen(remedy, format string, args ...any) Finding {
	return Finding{Status: Unknown, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

// With adds details.
func (f Finding) With(details ...string) Finding {
	f.Details = append(f.Details, details...)
	return f
}

// List is some words for a line: at most so many, and how many more there are.
func List(words []string, most int) string {
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// Blind returns checks that have nothing to look with, and say so: no cluster,
// no credentials.
func Blind(checks []Check, f Finding) []Check {
	blind := make([]Check, len(checks))
	for i, c := range checks {
		c.Run = func(context.Context) Finding { return f }
		blind[i] = c
	}
	return blind
}
