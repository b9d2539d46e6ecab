// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/flagenv"
	"github.com/castai/privatelink-webhook/internal/output"
)

// complete returns what a shell offers for the last argument.
func complete(t *testing.T, args ...string) (offered []string) {
	t.Helper()
	code, stdout, stderr := call(t, nil, "", append([]string{"__complete"}, args...)...)
	if code != 0 {
		t.Fatalf("%q: code %d, %s", args, code, stderr)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(stdout), "\n") {
		if name, _, _ := strings.Cut(line, "\t"); !strings.HasPrefix(name, ":") {
			offered = append(offered, name)
		}
	}
	return offered
}

func TestCompletion(t *testing.T) {
	kubeconfig := write(t, "config", "apiVersion: v1\nkind: Config\ncontexts:\n- {name: staging, context: {cluster: c, user: u}}\n- {name: production, context: {cluster: c, user: u}}\n")
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"sets":             {[]string{"mirror", "--set", "ph"}, []string{"phase1", "phase2"}},
		"a further set":    {[]string{"images", "--set", "umbrella,phase"}, []string{"umbrella,phase1", "umbrella,phase2"}},
		"overlays":         {[]string{"install", "--overlay", ""}, []string{"cert-manager", "host-network", "monitoring"}},
		"engines":          {[]string{"explain", "--engine", ""}, []string{"webhook", "policy"}},
		"guards":           {[]string{"explain", "--guard", ""}, []string{"warn", "deny", "off"}},
		"failure policies": {[]string{"explain", "--failure-policy", ""}, []string{"Fail", "Ignore"}},
		"platforms":        {[]string{"export", "--platform", "linux/a"}, []string{"linux/amd64", "linux/arm64", "linux/arm/v7"}},
		"groups":           {[]string{"doctor", "--only", "ins"}, []string{"inside", "inside/probe", "inside/dns", "inside/dns-ecr", "inside/dns-castai", "inside/connect-ecr", "inside/connect-castai", "inside/connect-s3", "inside/tls-ecr", "inside/tls-castai", "inside/charts"}},
		"checks":           {[]string{"doctor", "--skip", "cluster,registry/n"}, []string{"cluster,registry/node-role"}},
		"formats":          {[]string{"doctor", "-o", ""}, []string{"json", "yaml", "html", "junit"}},
		"contexts":         {[]string{"status", "--kubeconfig", kubeconfig, "--context", ""}, []string{"production", "staging"}},
		"no images":        {[]string{"rewrite", ""}, nil},
		"hidden commands":  {[]string{"m"}, []string{"mirror"}},
		"the plugin":       {[]string{"completion", "k"}, []string{"kubectl"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := complete(t, tc.args...); !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// A flag that is renamed would lose its values without notice.
func TestEveryCompletionHasAFlag(t *testing.T) {
	known := map[string]bool{}
	for _, c := range commands(newRoot(func(string) string { return "" })) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			placeholder, _ := pflag.UnquoteUsage(f)
			known["--"+f.Name+" "+placeholder] = true
		})
	}
	for flag, values := range completions() {
		if !known[flag] {
			t.Errorf("no command has %s", flag)
		}
		if values == nil {
			t.Errorf("%s has no values", flag)
		}
	}
}

// free are the placeholders of values that no list enumerates.
var free = []string{
	"API", "ARN", "DURATION", "HOST", "HOST:PORT", "ID", "IMAGE", "KEY=VALUE", "LABELS", "NAME=SERVICE", "NUMBER", "PREFIX", "PROFILE", "REGION", "SIZE", "URL", "VERSION",
	"CHART", "FILE", "FOLDER", "LOCK", // the shell completes these
}

// A new flag needs values, or a placeholder that stands for any text.
func TestEveryFlagIsCompletedOrFree(t *testing.T) {
	known := completions()
	for _, c := range commands(newRoot(func(string) string { return "" })) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			placeholder, _ := pflag.UnquoteUsage(f)
			_, isFormat := f.Value.(*output.Flag)
			_, isKnown := known["--"+f.Name+" "+placeholder]
			if isBool := f.Value.Type() == "bool"; !isBool && !isFormat && !isKnown && !slices.Contains(free, placeholder) && f.Name != "eks-cluster" {
				t.Errorf("%s --%s %s has no completion", c.CommandPath(), f.Name, placeholder)
			}
		})
	}
}

// One variable sets the flags of this name in all commands.
func TestFlagsOfOneVariableHaveOneMeaning(t *testing.T) {
	meanings := map[string]string{}
	for _, c := range commands(newRoot(func(string) string { return "" })) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if flagenv.IsExcluded(f) {
				return
			}
			placeholder, _ := pflag.UnquoteUsage(f)
			if other, ok := meanings[f.Name]; ok && other != placeholder {
				t.Errorf("%s --%s is %q, and %q elsewhere: exclude it from package flagenv", c.CommandPath(), f.Name, placeholder, other)
			}
			meanings[f.Name] = placeholder
		})
	}
	t.Chdir(t.TempDir())
	code, _, stderr := call(t, map[string]string{"PRIVATELINK_OUTPUT": "json", "PRIVATELINK_HELP": "x"}, "", "chart")
	if code != 2 || !strings.Contains(stderr, "give either --to FOLDER") {
		t.Errorf("code %d: %s", code, stderr)
	}
}
