// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// kubectl runs the program and completes it, as it does for an interactive shell.
func TestThePluginOfKubectl(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if err := os.Symlink(h.CLI(), filepath.Join(bin, "kubectl-privatelink")); err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(testCtx, program, args...)
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+filepath.Dir(h.KubectlPath)+string(os.PathListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+h.Kubeconfig)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	if help := run(h.KubectlPath, "privatelink", "mirror", "--help"); !strings.Contains(help, "\n  kubectl privatelink mirror [flags]\n") || strings.Contains(help, "  privatelink mirror") {
		t.Errorf("the help does not name the plugin:\n%s", help)
	}
	script := run(h.KubectlPath, "privatelink", "completion", "kubectl")
	if err := os.WriteFile(filepath.Join(bin, "kubectl_complete-privatelink"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ args, want []string }{
		"a command":           {[]string{"privatelink", "mir"}, []string{"mirror"}},
		"a value":             {[]string{"privatelink", "mirror", "--set", "umb"}, []string{"umbrella"}},
		"a value of a list":   {[]string{"privatelink", "doctor", "--only", "network,cluster/ca-"}, []string{"network,cluster/ca-secret", "network,cluster/ca-bundle"}},
		"a namespace":         {[]string{"privatelink", "explain", "--namespace", "kube-sys"}, []string{"kube-system"}},
		"a flag":              {[]string{"privatelink", "doctor", "--wai"}, []string{"--wait"}},
		"the plugin's script": {[]string{"privatelink", "completion", ""}, []string{"kubectl"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, line := range strings.Split(strings.TrimSpace(run(h.KubectlPath, append([]string{"__complete"}, tc.args...)...)), "\n") {
				if offered, _, _ := strings.Cut(line, "\t"); !strings.HasPrefix(offered, ":") {
					got = append(got, offered)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
