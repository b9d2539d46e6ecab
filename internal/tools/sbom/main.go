// SPDX-License-Identifier: Apache-2.0

// Command sbom writes an SPDX document in JSON for a Go program, or for the OCI
// archive of an image of Go programs:
//
//	sbom --version v0.2.0 --out privatelink.spdx.json bin/privatelink
//
// The modules are those that the Go linker recorded in each program, as printed by
// `go version -m`. The documents of two equal programs are equal: their time is that
// of the commit.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spdx/tools-golang/json"
	"github.com/spf13/pflag"
)

func main() {
	if err := run(os.Args[1:], os.Getenv); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, getenv func(string) string) error {
	var out, version string
	var contains []string
	f := pflag.NewFlagSet("sbom", pflag.ContinueOnError)
	f.StringVar(&out, "out", "", "`FILE` to write")
	f.StringVar(&version, "version", "", "`VERSION` of the program or image")
	f.StringArrayVar(&contains, "contains", nil, "OCI `ARCHIVE` that is embedded in the program; may be repeated")
	if err := f.Parse(args); err != nil {
		return err
	}
	if out == "" || version == "" || f.NArg() != 1 {
		return errors.New("required: --out FILE, --version VERSION and a program or an OCI archive; see --help")
	}
	created, err := creationTime(getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	d := newDocument(version, created)
	root, err := d.addFile(f.Arg(0))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Arg(0), err)
	}
	for _, archive := range contains {
		image, err := d.addImage(archive)
		if err != nil {
			return fmt.Errorf("%s: %w", archive, err)
		}
		d.relate(root, contained, image)
	}
	var text bytes.Buffer
	if err := json.Write(d.describe(root, filepath.Base(out)), &text, json.Indent("  "), json.EscapeHTML(false)); err != nil {
		return err
	}
	return os.WriteFile(out, text.Bytes(), 0o644)
}
