// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// A flag of one name has one meaning in all commands, and one line of help. A line may say
// for which flag it counts, where a lock can also be kept, and the default of its command.
func TestFlagsOfOneNameHaveOneLineOfHelp(t *testing.T) {
	others := map[string]string{ // flag and command: why the line is another
		"values of privatelink install":      "of the webhook's own chart",
		"values of privatelink chart config": "of the webhook's own chart",
		"namespace of privatelink explain":   "of the manifests, as kubectl's",
		"timeout of privatelink doctor":      "of one check, not of all requests",
		"yes of privatelink prune":           "without it, images are listed",
		"to of privatelink chart":            "a folder, or an archive of another kind",
	}
	const prefix, stores = "with --push, ", ", or configmap://NAMESPACE/NAME or s3://BUCKET/KEY"
	lines := map[string]string{}
	for _, c := range commands(newRoot(func(string) string { return "" })) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			line, _, _ := strings.Cut(f.Usage, " (default: ")
			line = strings.TrimSuffix(strings.TrimPrefix(line, prefix), stores)
			id := f.Name + " of " + c.CommandPath()
			switch first, known := lines[f.Name]; {
			case others[id] != "":
				delete(others, id)
			case f.Name == "output": // its formats differ
			case !known:
				lines[f.Name] = line
			case line != first:
				t.Errorf("--%s: %q, and %q in other commands", id, line, first)
			}
			if strings.Contains(f.Usage, "(default ") || f.Value.Type() == "stringToString" && f.DefValue != "" {
				t.Errorf("--%s: %q, default %q: a default that is no word is (default: text)", id, f.Usage, f.DefValue)
			}
		})
	}
	for id := range others {
		t.Errorf("there is no --%s", id)
	}
}
