// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/testutil/golden"
)

// commands returns the commands below c.
func commands(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		all = append(append(all, sub), commands(sub)...)
	}
	return all
}

// The table of formats is made from the flags of the commands.
func TestTheReferenceHasTheFormatsOfEveryCommand(t *testing.T) {
	var table strings.Builder
	table.WriteString("| command | formats | content | without `-o` |\n|---|---|---|---|\n")
	for _, c := range commands(newRoot(os.Getenv)) {
		flag := c.Flags().Lookup("output")
		if flag == nil || c.Hidden || flag.Shorthand == "" { // a folder to write to
			continue
		}
		formats, ok := flag.Value.(*output.Flag)
		if !ok {
			t.Errorf("%s: -o is no format of package output", c.CommandPath())
			continue
		}
		fmt.Fprintf(&table, "| `%s` | `%s` | %s | %s |\n", c.CommandPath(), strings.Join(formats.Formats(), "`, `"), formats.Content(), formats.Default())
	}
	comparePart(t, "../../docs/reference/output.md", "<!-- generated: go test ./cmd/privatelink -update -->\n", table.String())
}

// comparePart compares the part of a page between begin and the next end marker with a
// text, or updates it.
func comparePart(t *testing.T, file, begin, want string) {
	t.Helper()
	const end = "<!-- end -->"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(page), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no markers for %s", file, begin)
	}
	if golden.Update() {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, was); diff != "" {
		t.Errorf("%s differs: run `make generate`\n%s", file, diff)
	}
}

func TestWhatIsJSONIsYAMLAsWell(t *testing.T) {
	for _, c := range commands(newRoot(os.Getenv)) {
		flag := c.Flags().Lookup("output")
		if flag == nil {
			continue
		}
		if formats, ok := flag.Value.(*output.Flag); ok && strings.Contains(strings.Join(formats.Formats(), " "), "json") != strings.Contains(strings.Join(formats.Formats(), " "), "yaml") {
			t.Errorf("%s: %q", c.CommandPath(), formats.Formats())
		}
	}
}

func TestYAMLHasTheContentOfJSON(t *testing.T) {
	file := write(t, "pod.yaml", pod)
	for name, args := range map[string][]string{
		"images": {"images", "--registry", ecr, "--set", "umbrella"}, "explain": {"explain", "--registry", ecr, "-n", "castai-agent", file},
		"rewrite": {"rewrite", "--registry", ecr, "nginx", "X", "a:on"}, "manifests": {"rewrite", "--registry", ecr, "-f", file},
		"list of checks": {"doctor", "--list"},
	} {
		t.Run(name, func(t *testing.T) {
			code, asJSON, stderr := call(t, nil, "", append(args, "-o", "json")...)
			yamlCode, asYAML, _ := call(t, nil, "", append(args, "-o", "yaml")...)
			var want, got any
			if err := json.Unmarshal([]byte(asJSON), &want); err != nil || code != yamlCode {
				t.Fatalf("code %d and %d, %v: %s%s", code, yamlCode, err, asJSON, stderr)
			}
			if err := yaml.Unmarshal([]byte(asYAML), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" || strings.HasPrefix(asYAML, "[{") {
				t.Error(diff)
			}
		})
	}
}

// Each event is a document of its own.
func TestMirrorAsYAML(t *testing.T) {
	from, to := public(t), inMemory(t)
	code, stdout, stderr := call(t, nil, "", "mirror", "-o", "yaml", "--no-webhook-image", "-f", pods(t, from+"/castai/a:v1"), "--registry", to+"/mirror", "--plain-http", from, "--lock", filepath.Join(t.TempDir(), "l"))
	var events []string
	for _, document := range strings.Split(stdout, "---\n")[1:] {
		var e struct{ Event string }
		if err := yaml.Unmarshal([]byte(document), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e.Event)
	}
	if strings.Join(events, " ") != "planned copied summary" || code != 0 {
		t.Errorf("code %d, %q\n%s%s", code, events, stdout, stderr)
	}
}
