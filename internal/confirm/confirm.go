// SPDX-License-Identifier: Apache-2.0

// Package confirm asks before a command changes or deletes something in a cluster.
// The current context of a kubeconfig is easily another one than its user thinks.
package confirm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/terminal"
)

// Action is a change that needs a confirmation.
type Action struct {
	// What happens, as an infinitive: "replace the CA of the webhook".
	What string
	// Target is the cluster concerned.
	Target target.Target
	// Named is set if the user named the cluster, and Yes if the user confirmed the
	// action in advance. Both together need no question.
	Named, Yes bool
	// In and Err are the standard streams of the command.
	In  io.Reader
	Err io.Writer
}

// errCanceled is the result of a question that was not answered with yes.
var errCanceled = errors.New("canceled; nothing was changed")

// Possible returns a usage error if the action is not confirmed and cannot be, because
// there is no terminal to ask on.
func (a Action) Possible() error {
	if a.isConfirmed() || a.isTerminal() {
		return nil
	}
	flags := "--yes and --context NAME"
	switch {
	case a.Named:
		flags = "--yes"
	case a.Yes:
		flags = "--context NAME"
	}
	return exitcode.Usagef("this would %s in %s: confirm it with %s", a.What, a.Target, flags)
}

// Ask reports what happens where and, unless that is confirmed, asks on the terminal.
func (a Action) Ask() error {
	if err := a.Possible(); err != nil {
		return err
	}
	if a.isConfirmed() {
		fmt.Fprintf(a.Err, "in %s: %s\n", a.Target, a.What)
		return nil
	}
	fmt.Fprintf(a.Err, "This will %s in %s. Continue? [y/N] ", a.What, a.Target)
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errCanceled
}

// isConfirmed reports whether no question is needed. Inside a pod there is one cluster,
// and no context to name.
func (a Action) isConfirmed() bool { return a.Yes && (a.Named || a.Target.Context == "") }

func (a Action) isTerminal() bool {
	w, ok := a.In.(io.Writer) // a file
	return ok && terminal.IsTerminal(w)
}
