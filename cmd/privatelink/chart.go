// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy/chart"
	"github.com/castai/privatelink-webhook/internal/chartpush"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
)

func newChart() *cobra.Command {
	var (
		to, config string
		push       chartpush.Options
	)
	c := &cobra.Command{
		Use:   "chart (--to FOLDER|FILE.tgz | --push oci://PREFIX)",
		Short: "Write the Helm chart of the webhook, or push it to a registry",
		Long: `Write the Helm chart of the webhook to a folder or an archive, or push it to a registry.
The chart and this command have the same version.

With --push, the name of the chart is appended to the prefix, as helm push does. On ECR,
the repository is created if it is missing, with the settings of --config. Pushing the
same chart again changes nothing. The command that pulls the chart is printed.

Exit codes:
  0  the chart was written, or is in the registry
  1  the chart could not be written or pushed
  2  invalid usage or configuration`,
		Example: `  # Push the chart to ECR
  privatelink chart --push oci://123456789012.dkr.ecr.us-east-1.amazonaws.com/charts

  # Write the chart to a folder, for review
  privatelink chart --to privatelink-webhook`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (to == "") == (push.To == "") {
				return exitcode.Usagef("give either --to FOLDER or --push oci://PREFIX")
			}
			if to != "" {
				return chart.Write(to)
			}
			settings, err := repositorySettings(config)
			if err != nil {
				return err
			}
			reporter := newReporter(c, output.Text)
			push.Connect.Settings, push.Out = settings, c.OutOrStdout()
			push.Connect.Warn, push.Connect.UserAgent = reporter.Warn, "privatelink/"+version
			return chartpush.Run(c.Context(), push)
		},
	}
	c.Flags().StringVar(&to, "to", "", "archive `FILE` to write, or a folder unless the name ends in .tgz")
	c.Flags().StringVar(&push.To, "push", "", "oci:// and the registry `PREFIX` to push the chart to")
	c.Flags().BoolVar(&push.Overwrite, "overwrite", false, "with --push, "+overwriteHelp)
	c.Flags().StringVar(&config, "config", "", "with --push, "+configHelp)
	c.Flags().StringVar(&push.Connect.Profile, "profile", "", "with --push, "+profileHelp)
	c.Flags().StringSliceVar(&push.Connect.PlainHTTP, "plain-http", nil, "with --push, "+plainHTTPHelp)
	c.AddCommand(newChartValues(), newChartConfig())
	return c
}

// repositorySettings are those of a configuration file, or ECR's defaults without one.
func repositorySettings(config string) (awsecr.Settings, error) {
	if config == "" {
		return awsecr.Settings{}, nil
	}
	rules, _, err := (&ruleFlags{config: config}).rules()
	if err != nil {
		return awsecr.Settings{}, err
	}
	return awsecr.Settings(rules.Config().Repositories), nil
}

func newChartValues() *cobra.Command {
	var rules ruleFlags
	c := &cobra.Command{
		Use:   "values --config FILE",
		Short: "Print the values of the chart for a configuration file",
		Long: `Print the values of the chart for a configuration file, after checking it as a whole.

Exit codes:
  0  the values were printed
  1  the values could not be written
  2  invalid usage or configuration`,
		Example: `  privatelink chart values --config privatelink.yaml > values.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, _, err := rules.rules()
			if err != nil {
				return err
			}
			text, err := chart.FromRules(r)
			if err != nil {
				return err
			}
			_, err = document(c).Write(text)
			return err
		},
	}
	rules.add(c.Flags())
	return c
}

func newChartConfig() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "config --values FILE",
		Short: "Print the configuration file for values of the chart",
		Long: `Print the configuration file that has the rules of a file of values, for commands such as
mirror and doctor. It is the one that the chart writes into the ConfigMap.

Exit codes:
  0  the configuration was printed
  1  the configuration could not be written
  2  invalid usage, or values that are refused`,
		Example: `  privatelink chart config --values values.yaml > privatelink.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			name, text, err := readValues(c, file)
			if err != nil {
				return err
			}
			config, err := chart.Config(name, text)
			if err != nil {
				return exitcode.AsUsage(err)
			}
			_, err = document(c).Write(config)
			return err
		},
	}
	c.Flags().StringVar(&file, "values", "", "`FILE` with values of the webhook's Helm chart, - for standard input")
	return c
}

// readValues reads a file of values of the chart.
func readValues(c *cobra.Command, file string) (name string, text []byte, err error) {
	switch file {
	case "":
		return "", nil, exitcode.Usagef("give --values FILE")
	case "-":
		text, err = io.ReadAll(c.InOrStdin())
		return "standard input", text, err
	}
	text, err = os.ReadFile(file)
	if err != nil {
		return "", nil, exitcode.Usagef("--values: %w", err)
	}
	return file, text, nil
}
