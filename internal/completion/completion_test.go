// SPDX-License-Identifier: Apache-2.0

package completion

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/output"
)

// complete returns what a shell would offer for the last argument, and the directive.
func complete(t *testing.T, args ...string) (offered []string, directive string) {
	t.Helper()
	root := &cobra.Command{Use: "p", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	c := &cobra.Command{Use: "c FILE", Args: cobra.ExactArgs(1), RunE: root.RunE}
	var format output.Format
	output.AddFlag(c.Flags(), &format, "a table", "all", output.JSON, output.YAML)
	c.Flags().String("engine", "", "`ENGINE`")
	c.Flags().StringSlice("only", nil, "`CHECKS`")
	c.Flags().String("context", "", "`NAME`")
	c.Flags().String("kubeconfig", "", "`FILE`")
	c.Flags().String("profile", "", "`PROFILE`")
	c.Flags().Bool("now", false, "")
	root.AddCommand(c)
	Add(root, map[string]Values{
		"--engine ENGINE": Fixed("webhook", "policy"), "--only CHECKS": Fixed("network", "cluster", "cluster/api\tthe API server answers"),
		"--context NAME": func(c *cobra.Command) []string { return []string{"of-" + c.Flag("kubeconfig").Value.String()} },
	})
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, args...))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

func TestAdd(t *testing.T) {
	const files, noFiles = ":0", ":4"
	for name, tc := range map[string]struct {
		args      []string
		want      []string
		directive string
	}{
		"values":                            {[]string{"c", "--engine", ""}, []string{"webhook", "policy"}, noFiles},
		"values that begin so":              {[]string{"c", "--engine", "po"}, []string{"policy"}, noFiles},
		"after an equal sign":               {[]string{"c", "--engine=w"}, []string{"webhook"}, noFiles},
		"formats":                           {[]string{"c", "-o", ""}, []string{"json", "yaml"}, noFiles},
		"a list":                            {[]string{"c", "--only", "cl"}, []string{"cluster", "cluster/api\tthe API server answers"}, noFiles},
		"the next of a list":                {[]string{"c", "--only", "network,"}, []string{"network,cluster", "network,cluster/api"}, noFiles},
		"the next of a list that begins so": {[]string{"c", "--only", "network,cluster/"}, []string{"network,cluster/api"}, noFiles},
		"values that depend on a flag":      {[]string{"c", "--kubeconfig", "k", "--context", ""}, []string{"of-k"}, noFiles},
		"a file":                            {[]string{"c", "--kubeconfig", ""}, nil, files},
		"free text":                         {[]string{"c", "--profile", ""}, nil, noFiles},
		"an argument that is a file":        {[]string{"c", ""}, nil, files},
		"no further argument":               {[]string{"completion", "bash", ""}, nil, noFiles},
	} {
		t.Run(name, func(t *testing.T) {
			if got, directive := complete(t, tc.args...); !slices.Equal(got, tc.want) || directive != tc.directive {
				t.Errorf("%q %s, want %q %s", got, directive, tc.want, tc.directive)
			}
		})
	}
}
