// SPDX-License-Identifier: Apache-2.0

// Package exitcode defines the exit codes of privatelink and privatelink-webhook,
// and the errors that select one.
package exitcode

import (
	"errors"
	"fmt"
	"io"
)

// The exit codes of all commands.
const (
	// OK: the command did what it was asked for, and found nothing that needs action.
	OK = 0
	// Failed: something could not be done, or could not be checked.
	Failed = 1
	// Usage: flags, arguments or configuration are invalid. Repeating the command does not help.
	Usage = 2
	// ActionNeeded: the command worked, and found something that needs action,
	// such as a missing image, a failed check or a reference that cannot be mapped.
	ActionNeeded = 3
)

// Error is an error that ends the process with Code.
type Error struct {
	Code int
	Err  error
	// Printed is set if the user has seen the cause already.
	Printed bool
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsUsage marks an error as invalid usage or configuration; nil remains nil.
func AsUsage(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: Usage, Err: err}
}

// Usagef returns an error of invalid usage or configuration.
func Usagef(format string, args ...any) error { return AsUsage(fmt.Errorf(format, args...)) }

// AlreadyPrintedf returns a failure whose causes were printed when they occurred.
func AlreadyPrintedf(format string, args ...any) error {
	return &Error{Code: Failed, Err: fmt.Errorf(format, args...), Printed: true}
}

// ActionNeededf returns the result of a command whose output lists what needs action.
func ActionNeededf(format string, args ...any) error {
	return &Error{Code: ActionNeeded, Err: fmt.Errorf(format, args...), Printed: true}
}

// Code returns the exit code for the result of a command.
func Code(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Failed
}

// Report writes the error to w unless it was printed, and returns the exit code.
func Report(w io.Writer, program string, err error) int {
	var e *Error
	if err != nil && (!errors.As(err, &e) || !e.Printed) {
		fmt.Fprintf(w, "%s: %v\n", program, err)
	}
	return Code(err)
}
