// SPDX-License-Identifier: Apache-2.0

// Command bench measures the webhook, an echo server as its lower bound, and its peers.
//
// Absolute figures depend on the machine more than on the program. So the servers
// alternate in one run, under the same load, and the ratios are compared. A slow figure is reported, never an error: the exit code is 1 only
// when a server did not run or gave a wrong answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == echoName {
		if err := serveEcho(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench: echo:", err)
			os.Exit(1)
		}
		return
	}
	// On Linux the kernel kills a server when the thread that started it ends.
	// Bound to this goroutine, that thread lives as long as the program.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type usageError struct{ error }

// options are the command line.
type options struct {
	server   string
	peers    string
	output   string
	duration time.Duration
	warmUp   time.Duration
	rounds   int
	inFlight int
}

const (
	maxDuration = time.Minute
	maxRounds   = 20
	maxInFlight = 256
)

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // main prints errors
	fs.StringVar(&o.server, "server", "", "measure this `binary` (default: built from the module)")
	fs.StringVar(&o.peers, "peers", "stock", "peers in addition to the echo: none or stock")
	fs.StringVar(&o.output, "o", "table", "output: table or json")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "measured time of a server in a round")
	fs.DurationVar(&o.warmUp, "warm-up", time.Second, "time before it, not counted")
	fs.IntVar(&o.rounds, "rounds", 3, "how often each server has its turn")
	fs.IntVar(&o.inFlight, "in-flight", 8, "connections, each with one request at a time")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "usage: bench [flags]")
			fs.SetOutput(stderr)
			fs.PrintDefaults()
			return o, err
		}
		return o, usageError{err}
	}
	switch {
	case fs.NArg() > 0:
		return o, usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	case o.peers != "none" && o.peers != "stock":
		return o, usageError{fmt.Errorf("-peers %q: want none or stock", o.peers)}
	case o.output != "table" && o.output != "json":
		return o, usageError{fmt.Errorf("-o %q: want table or json", o.output)}
	case o.duration <= 0 || o.duration > maxDuration:
		return o, usageError{fmt.Errorf("-duration %s: want more than 0, at most %s", o.duration, maxDuration)}
	case o.warmUp < 0 || o.warmUp > maxDuration:
		return o, usageError{fmt.Errorf("-warm-up %s: want 0 to %s", o.warmUp, maxDuration)}
	case o.rounds < 1 || o.rounds > maxRounds:
		return o, usageError{fmt.Errorf("-rounds %d: want 1 to %d", o.rounds, maxRounds)}
	case o.inFlight < 1 || o.inFlight > maxInFlight:
		return o, usageError{fmt.Errorf("-in-flight %d: want 1 to %d", o.inFlight, maxInFlight)}
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "privatelink-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	s, err := prepare(ctx, o, dir, stderr)
	if err != nil {
		return err
	}
	r, err := s.measure(ctx, o, stderr)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return r.writeJSON(stdout)
	}
	return r.writeTable(stdout)
}
