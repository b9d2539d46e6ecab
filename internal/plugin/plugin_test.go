// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// call runs a command under the name of a program.
func call(t *testing.T, program string, args ...string) string {
	t.Helper()
	none := func(*cobra.Command, []string) error { return nil }
	root := &cobra.Command{
		Use: "privatelink", Version: "v1", Long: "Use privatelink mirror first. Files: privatelink.yaml, privatelink-webhook.", RunE: none,
	}
	mirror := &cobra.Command{
		Use: "mirror", RunE: none, Long: "Reads privatelink.lock.yaml. See privatelink images.",
		Example: "  privatelink mirror --set x |\n    privatelink images -o json",
	}
	mirror.Flags().String("set", "", "`NAME`")
	_ = mirror.RegisterFlagCompletionFunc("set", cobra.FixedCompletions([]string{"phase1"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(mirror, &cobra.Command{Use: "images", RunE: none})
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.InitDefaultCompletionCmd()
	AddCompletion(root)
	root.SetArgs(Apply(root, program, args))
	if err := root.Execute(); err != nil {
		return err.Error()
	}
	return out.String()
}

func TestApply(t *testing.T) {
	for name, tc := range map[string]struct {
		program   string
		args      []string
		want, not []string
	}{
		"the program":                        {"/usr/bin/privatelink", []string{"mirror", "--help"}, []string{"\n  privatelink mirror [flags]\n"}, []string{"kubectl privatelink"}},
		"the plugin":                         {"/home/me/.krew/bin/kubectl-privatelink", []string{"mirror", "--help"}, []string{"\n  kubectl privatelink mirror [flags]\n", "See kubectl privatelink images.", "  kubectl privatelink mirror --set x |\n    kubectl privatelink images -o json", "Reads privatelink.lock.yaml."}, []string{"\n  privatelink mirror --set"}},
		"its root":                           {"kubectl-privatelink", []string{"--help"}, []string{"Use kubectl privatelink mirror first. Files: privatelink.yaml, privatelink-webhook.", "\n  kubectl privatelink [command]\n", `Use "kubectl privatelink [command] --help"`}, nil},
		"its version":                        {"kubectl-privatelink", []string{"--version"}, []string{"kubectl privatelink version v1"}, nil},
		"on Windows":                         {`kubectl-privatelink.exe`, []string{"mirror", "--help"}, []string{"\n  kubectl privatelink mirror [flags]\n"}, nil},
		"on Windows, in capitals":            {`KUBECTL-PRIVATELINK.EXE`, []string{"mirror", "--help"}, []string{"\n  kubectl privatelink mirror [flags]\n"}, nil},
		"no shells":                          {"kubectl-privatelink", []string{"completion", "--help"}, []string{"\n  kubectl "}, []string{"bash", "zsh"}},
		"its completion":                     {"kubectl_complete-privatelink", []string{"mirror", "--set", ""}, []string{"phase1\n:4\n"}, nil},
		"the completion of its commands":     {"./kubectl_complete-privatelink", []string{"mi"}, []string{"mirror\n:4\n"}, nil},
		"another program":                    {"kubectl-private", []string{"mirror", "--help"}, []string{"\n  privatelink mirror [flags]\n"}, nil},
		"the program that kubectl completes": {"privatelink", []string{"completion", "kubectl"}, []string{"#!/bin/sh\n", "exec kubectl-privatelink __complete \"$@\"\n"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := call(t, tc.program, tc.args...)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(got, not) {
					t.Errorf("has %q:\n%s", not, got)
				}
			}
		})
	}
}
