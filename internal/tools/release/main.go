// SPDX-License-Identifier: Apache-2.0

// Command release prints the notes of a release: its section of the changelog.
//
//	go run ./internal/tools/release --version v0.2.0 CHANGELOG.md
//
// The script install.sh next to it, and its test, belong to the release as well.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	var version string
	var snapshot bool
	f := pflag.NewFlagSet("release", pflag.ContinueOnError)
	f.StringVar(&version, "version", "", "`VERSION` of the release, such as v0.2.0")
	f.BoolVar(&snapshot, "snapshot", false, "accept a section that is marked as unreleased")
	if err := f.Parse(args); err != nil {
		return err
	}
	if version == "" || f.NArg() != 1 {
		return errors.New("required: --version VERSION and the changelog; see --help")
	}
	text, err := os.ReadFile(f.Arg(0))
	if err != nil {
		return err
	}
	out, err := notes(string(text), version, snapshot)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Arg(0), err)
	}
	_, err = io.WriteString(stdout, out)
	return err
}
