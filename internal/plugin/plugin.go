// SPDX-License-Identifier: Apache-2.0

// Package plugin makes a command a plugin of kubectl.
//
// kubectl runs a program kubectl-NAME for `kubectl NAME`, and a program
// kubectl_complete-NAME to complete its arguments.
// https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/
package plugin

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

const kubectl = "kubectl"

// Apply makes the texts of root name it as a plugin if it is called as one, after
// AddCompletion. It returns the arguments to run it with: called as the program that
// completes a plugin, it completes.
func Apply(root *cobra.Command, program string, args []string) []string {
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(program)), ".exe") // Windows ignores case
	switch name {
	case "kubectl_complete-" + root.Name():
		rename(root)
		return append([]string{cobra.ShellCompRequestCmd}, args...)
	case "kubectl-" + root.Name():
		rename(root)
	}
	return args
}

// rename puts kubectl before the name of root in all texts that show how to call it.
func rename(root *cobra.Command) {
	name := root.Name()
	var commands []string
	for _, c := range root.Commands() {
		commands = append(commands, regexp.QuoteMeta(c.Name()))
	}
	call := regexp.MustCompile(`(^|[^-/\w.])` + regexp.QuoteMeta(name) + ` (` + strings.Join(commands, "|") + `|\[)`)
	replace := func(text string) string { return call.ReplaceAllString(text, "${1}kubectl "+name+" ${2}") }
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl " + name}
	for _, c := range shells(root).Commands() {
		if c.Name() != kubectl { // it completes the name, which is not what is typed
			shells(root).RemoveCommand(c)
		}
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.Short, c.Long, c.Example = replace(c.Short), replace(c.Long), replace(c.Example)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// AddCompletion adds a command to the command completion of root, which prints the
// program that kubectl runs to complete the plugin.
func AddCompletion(root *cobra.Command) {
	name := root.Name()
	script := "#!/bin/sh\n# kubectl runs this to complete the arguments of the plugin.\nexec kubectl-" + name + " " + cobra.ShellCompRequestCmd + " \"$@\"\n"
	c := &cobra.Command{
		Use:   kubectl,
		Short: "Generate the program that completes the plugin of kubectl",
		Long: `Generate the program with which kubectl completes the arguments of the plugin, a
shell script. Write it to kubectl_complete-` + name + ` in a folder of PATH. kubectl-` + name + `
must be in PATH, too, and the completion of kubectl itself must be enabled.

On Windows, copy kubectl-` + name + `.exe to kubectl_complete-` + name + `.exe instead.`,
		Example: `  # Complete kubectl ` + name + `
  ` + name + ` completion kubectl > ~/.local/bin/kubectl_complete-` + name + `
  chmod +x ~/.local/bin/kubectl_complete-` + name,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions, DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write([]byte(script))
			return err
		},
	}
	if parent := shells(root); parent != nil {
		parent.AddCommand(c)
	}
}

// shells returns the command whose commands complete root in a shell, each as its name.
func shells(root *cobra.Command) *cobra.Command {
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			return c
		}
	}
	return nil
}
