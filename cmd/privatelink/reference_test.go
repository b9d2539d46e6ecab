// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// The command line reference is the --help of every command.
func TestTheReferenceHasTheHelpOfEveryCommand(t *testing.T) {
	var page strings.Builder
	page.WriteString("# Command line\n\n<!-- generated: go test ./cmd/privatelink -update -->\n\n" +
		"This is the output of `--help` for each command of `privatelink`. [Configuration](configuration.md) describes `privatelink.yaml`, the flags of\n" +
		"`privatelink-webhook`, and the [exit codes](configuration.md#exit-codes).\n")
	root := newRoot(func(string) string { return "" })
	root.InitDefaultCompletionCmd()
	writeHelp(t, &page, root)
	const file = "../../docs/reference/cli.md"
	if golden.Update() {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(text)); diff != "" {
		t.Errorf("%s is out of date: run `make generate`\n%s", file, diff)
	}
}

func writeHelp(t *testing.T, page *strings.Builder, c *cobra.Command) {
	t.Helper()
	args := append(strings.Fields(c.CommandPath())[1:], "--help")
	code, stdout, stderr := call(t, nil, "", args...)
	if code != 0 || stdout == "" {
		t.Fatalf("privatelink %v: exit code %d: %s", args, code, stderr)
	}
	fmt.Fprintf(page, "\n## %s\n\n```text\n%s\n```\n", c.CommandPath(), strings.TrimSpace(stdout))
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && c.Name() != "completion" {
			writeHelp(t, page, sub)
		}
	}
}
