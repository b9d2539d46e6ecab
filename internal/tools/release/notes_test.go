// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const changelog = `# Changelog

Text before.

## v0.2.0 - unreleased

### Added

- Something new.

## v0.1.0 - 2026-12-01

A paragraph
of two lines.

### Added

- One thing, which needs
  two lines.
- Another.

## v0.0.1 - 2026-11-01

## v0.0.10 - 2026-10-01

- Old.
`

func TestNotes(t *testing.T) {
	for name, tc := range map[string]struct {
		version   string
		snapshot  bool
		want, err string
	}{
		"a section, with a line for each item": {version: "v0.1.0", want: "A paragraph of two lines.\n\n### Added\n\n- One thing, which needs two lines.\n- Another.\n"},
		"the last section":                     {version: "v0.0.10", want: "- Old.\n"},
		"a section without a date":             {version: "v0.2.0", err: `write it as "## v0.2.0 - 2006-01-02"`},
		"the same for a snapshot":              {version: "v0.2.0", snapshot: true, want: "### Added\n\n- Something new.\n"},
		"no section":                           {version: "v0.3.0", snapshot: true, err: "add it before the release"},
		"an empty section":                     {version: "v0.0.1", err: "is empty"},
		"a prefix of a version is not it":      {version: "v0.0", err: "no section"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := notes(changelog, tc.version, tc.snapshot)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q, %v; want %q, %q", got, err, tc.want, tc.err)
			}
		})
	}
}

// The version of the Deployment has a section in the changelog, and the page verifies it.
func TestTheDocumentsHaveTheNextRelease(t *testing.T) {
	const root = "../../.."
	deployment, err := os.ReadFile(filepath.Join(root, "deploy", "base", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(deployment), "/privatelink-webhook:")
	if !ok {
		t.Fatal("the Deployment has no image")
	}
	version := strings.Fields(after)[0]
	page, err := os.ReadFile(filepath.Join(root, "docs", "guide", "verify.md"))
	if err != nil || !strings.Contains(string(page), "\nexport VERSION="+version+"\n") {
		t.Errorf("docs/guide/verify.md does not verify %s, %v", version, err)
	}
	var out bytes.Buffer
	if err := run([]string{"--version", version, "--snapshot", filepath.Join(root, "CHANGELOG.md")}, &out); err != nil || out.Len() < 100 {
		t.Errorf("%v\n%s", err, out.String())
	}
}
