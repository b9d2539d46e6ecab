// SPDX-License-Identifier: Apache-2.0

// Command kube is a real Kubernetes control plane in one executable.
//
// End-to-end tests need the true API server, because admission order, CEL
// match conditions, patch application and certificate checks are its own
// behavior, and every imitation gets one of them wrong. Building it from its Go
// modules needs no container engine and no release download; one multi-call
// executable links the shared packages once, so it is smaller and quicker to
// build than four.
//
// It is a module of its own: the hundreds of modules that it requires must
// never decide a version in the product's go.mod. To move to another release of
// Kubernetes, change v1.37.2 and every v0.37.2 in this module's go.mod and run
// go mod tidy next to it.
//
// The folder versions has module files for older releases, which go build takes
// by -modfile. This source is the same for all of them.
package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// program runs one component with the arguments in os.Args and returns its
// exit code. The components read os.Args themselves, so it is not passed.
type program func() int

func main() {
	programs := controlPlane()
	maps.Copy(programs, node())
	run, ok := choose(programs)
	if !ok {
		usage(os.Stderr, programs)
		os.Exit(2)
	}
	os.Exit(run())
}

// choose picks the component by the name of the executable, so that a symlink
// is enough to make one, else by the first argument, which it then removes:
// what follows sees the os.Args that it would see as a program of its own.
func choose(programs map[string]program) (program, bool) {
	if p, ok := programs[filepath.Base(os.Args[0])]; ok {
		return p, true
	}
	if len(os.Args) < 2 {
		return nil, false
	}
	p, ok := programs[os.Args[1]]
	os.Args = os.Args[1:]
	return p, ok
}

func usage(w io.Writer, programs map[string]program) {
	names := slices.Sorted(maps.Keys(programs))
	fmt.Fprintf(w, "kube: name a component as the first argument, or call it by a symlink of that name: %s\n",
		strings.Join(names, ", "))
}
