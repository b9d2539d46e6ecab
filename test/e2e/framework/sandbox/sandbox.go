// SPDX-License-Identifier: Apache-2.0

// Package sandbox runs a program again in a network of its own.
//
// The webhook's pods listen on the ports of the shipped Deployment. In a
// network of its own these are always free, there is an address for each
// replica, and nothing can reach the outside, as in the clusters that the
// product is for. Linux gives one to everybody, root or not, unless a policy of
// the machine is against it; elsewhere the host's network has to do.
package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// Variable is set for the program inside. Set to "off" by a person, it keeps
// the program in the host's network.
const Variable = "PRIVATELINK_SANDBOX"

const (
	off    = "off"
	inside = "inside"
)

// ErrUnavailable says that a network namespace cannot be created here.
var ErrUnavailable = errors.New("a network namespace cannot be created")

// Run starts this program again, with the same arguments and with env added to
// its environment, in a network of its own. It passes on interrupts, waits, and
// returns the exit code. The program has to call Enter before all else.
func Run(env ...string) (code int, err error) {
	if os.Getenv(Variable) == off {
		return 0, fmt.Errorf("%w: %s=%s", ErrUnavailable, Variable, off)
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	entered, ready, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer entered.Close()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(append(os.Environ(), env...), Variable+"="+inside)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{ready}
	err = start(cmd)
	_ = ready.Close() // without this the pipe would never reach its end
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// The child says "ok", or what it lacks. Without ok it has done nothing yet.
	said, err := io.ReadAll(entered)
	if err != nil || string(said) != ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		return 0, fmt.Errorf("%w: %s", ErrUnavailable, strings.TrimSpace(string(said)))
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may just have ended
		case err := <-done:
			return exitCode(cmd, err)
		}
	}
}

func exitCode(cmd *exec.Cmd, err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return 1, nil // ended by a signal
	}
	return 1, fmt.Errorf("waiting for %s: %w", cmd.Path, err)
}

const ok = "ok"

// Enter reports whether this is the program inside, and sets up its network
// there. It ends the process when that fails: the one outside then goes on
// without.
func Enter() bool {
	if os.Getenv(Variable) != inside {
		return false
	}
	_ = os.Unsetenv(Variable) // not for programs that this one starts
	pipe := os.NewFile(3, "the process outside")
	if err := setUp(); err != nil {
		fmt.Fprint(pipe, err)
		os.Exit(1)
	}
	_, _ = io.WriteString(pipe, ok)
	_ = pipe.Close()
	return true
}

// Addresses returns addresses of the sandbox that may stand in an
// EndpointSlice. They are from a range that is reserved for examples.
func Addresses() []string {
	var out []string
	for i := range 8 {
		out = append(out, fmt.Sprintf("192.0.2.%d", 10+i))
	}
	return out
}
