// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// driver completes the last of its arguments as bash does, with what the script needs of
// the package bash-completion, and prints what bash would offer.
const driver = `
_init_completion() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword - 1]}; }
__ltrim_colon_completions() { :; }
compopt() { :; }
COLUMNS=80 COMP_TYPE=9 COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*"
COMP_POINT=${#COMP_LINE}
source <("$1" completion bash)
__start_privatelink
printf '%s\n' "${COMPREPLY[@]}"
`

// bash escapes a comma in what it compares, and inserts, so that a program that works
// by itself may offer nothing in the shell.
func TestCompletionInBash(t *testing.T) {
	bin := t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "privatelink")); err != nil {
		t.Fatal(err)
	}
	kubeconfig := write(t, "config", `{"apiVersion": "v1", "kind": "Config", "contexts": [{"name": "arn:aws:eks:us-east-1:123456789012:cluster/a", "context": {}}, {"name": "b", "context": {}}]}`)
	for name, tc := range map[string]struct{ typed, want string }{
		"a command":                        {"mir", "mirror"},
		"a value":                          {"doctor --only cluster/ca-b", "cluster/ca-bundle"},
		"values, each with an expectation": {"doctor --only ins", "inside\ninside/probe           (the network can be probed from inside)"},
		"the second of a list":             {"doctor --only registry,cluster/ca-b", `registry\,cluster/ca-bundle`},
		"values for the second":            {"doctor --only registry,ide", "registry,identity\nregistry,identity/caller"},
		"the third, after an insertion":    {`mirror --set umbrella\,phase1,op`, `umbrella\,phase1\,optional`},
		"a context of EKS":                 {"status --context arn", "arn:aws:eks:us-east-1:123456789012:cluster/a"},
		"after an equal sign":              {"status --context=arn", "arn:aws:eks:us-east-1:123456789012:cluster/a"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", driver, "bash", "privatelink"}, strings.Fields(tc.typed)...)...)
			cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+kubeconfig)
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || !strings.HasPrefix(got, strings.TrimSpace(tc.want)) {
				t.Errorf("%v: %q, want %q", err, got, tc.want)
			}
		})
	}
}
