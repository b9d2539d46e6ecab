// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/completion"
	"github.com/castai/privatelink-webhook/internal/doctor/suite"
	"github.com/castai/privatelink-webhook/internal/flagenv"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
)

// completions returns the values of flags, by name and placeholder.
func completions() map[string]completion.Values {
	checks := func(*cobra.Command) []string { return suite.Names() }
	return map[string]completion.Values{
		"--set NAME":              completion.Fixed(catalog.Sets()...),
		"--overlay NAME":          completion.Fixed(deploy.Overlays()...),
		"--engine ENGINE":         completion.Fixed(names(deploy.Engines())...),
		"--guard GUARD":           completion.Fixed(names(deploy.Guards())...),
		"--failure-policy POLICY": completion.Fixed("Fail", "Ignore"),
		"--platform PLATFORM":     completion.Fixed("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/s390x", "windows/amd64"),
		"--only CHECKS":           checks,
		"--skip CHECKS":           checks,
		"--context NAME":          func(c *cobra.Command) []string { return selected(c).Contexts() },
		"--namespace NAMESPACE":   func(c *cobra.Command) []string { return selected(c).Namespaces(c.Context()) },
	}
}

func names[T ~string](values []T) (names []string) {
	for _, v := range values {
		names = append(names, string(v))
	}
	return names
}

// selected returns the cluster that a command selects, by flags if it has them.
func selected(c *cobra.Command) (o kubeconfig.Options) {
	_ = flagenv.Set(c.Flags(), os.Getenv) // a value that is invalid is reported when the command runs
	if f := c.Flags().Lookup("kubeconfig"); f != nil {
		o.File = f.Value.String()
	}
	if f := c.Flags().Lookup("context"); f != nil {
		o.Context = f.Value.String()
	}
	return o
}
