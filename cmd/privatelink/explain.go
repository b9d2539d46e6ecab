// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/explain"
	"github.com/castai/privatelink-webhook/internal/flagenv"
	"github.com/castai/privatelink-webhook/internal/output"
)

type explainFlags struct {
	rules                  ruleFlags
	files                  []string
	engine, guard, failure string
	format                 output.Format
	namespace              explain.Namespace
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain (--registry PREFIX | --config FILE) (FILE... | -f FILE)",
		Short: "Evaluate the admission rules against manifests, offline",
		Long: `Evaluate the admission rules against the pods in manifests, offline. For each pod,
the output shows whether its namespace is selected, the match conditions and their
values, each image with the rule that decides and the result, and the verdict of the
guard.

The expressions of the install bundle are evaluated with the API server's own CEL
libraries and limits. Manifests are decoded as the API server does: unknown fields,
such as those in another case, are reported. Pods are evaluated as on creation,
without changes by other webhooks.

Exit codes:
  0  no pod would be refused or stored with a public image, in any namespace
  1  a pod could not be evaluated
  2  invalid usage, configuration or manifest
  3  at least one pod would be refused or stored with a public image, because it cannot
     be mapped or because its namespace is not selected, or has unknown fields`,
		Example: `  # Evaluate a manifest
  privatelink explain --config privatelink.yaml deployment.yaml

  # Evaluate the Deployments of a cluster as the policy engine does
  kubectl get deployment -n castai-agent -o yaml | privatelink explain --registry "$REGISTRY" --engine policy -`,
		Args: func(c *cobra.Command, files []string) error {
			if len(f.files) > 0 {
				return nil
			}
			return cobra.MinimumNArgs(1)(c, files)
		},
		RunE: func(c *cobra.Command, files []string) error { return f.run(c, append(files, f.files...)) },
	}
	f.rules.add(c.Flags())
	c.Flags().StringArrayVarP(&f.files, "filename", "f", nil, filenameHelp)
	c.Flags().StringVar(&f.engine, "engine", string(deploy.Webhook), engineHelp)
	c.Flags().StringVar(&f.guard, "guard", string(deploy.GuardWarn), guardHelp)
	c.Flags().StringVar(&f.failure, "failure-policy", "", failureHelp)
	c.Flags().StringVarP(&f.namespace.Name, "namespace", "n", "default", "`NAMESPACE` of objects that do not specify one")
	flagenv.Exclude(c.Flags(), "namespace") // PRIVATELINK_NAMESPACE is that of the webhook
	c.Flags().StringToStringVar(&f.namespace.Labels, "namespace-labels", nil, "`LABELS` of the pods' namespaces, as KEY=VALUE,..., for a configuration with namespaceSelector")
	c.Flags().Lookup("namespace-labels").DefValue = "" // none, in place of []
	output.AddFlag(c.Flags(), &f.format, "text", "with all details", output.JSON, output.YAML)
	return c
}

func (f *explainFlags) run(c *cobra.Command, files []string) error {
	rules, text, err := f.rules.rules()
	if err != nil {
		return err
	}
	bundle, err := explain.New(deploy.Options{Rules: rules, Config: text, Engine: deploy.Engine(f.engine), Guard: deploy.Guard(f.guard), FailurePolicy: f.failure})
	if err != nil {
		return exitcode.AsUsage(err)
	}
	reports, err := bundle.ExplainFiles(c.Context(), files, c.InOrStdin(), f.namespace)
	if err != nil {
		return err
	}
	if f.format == output.Text {
		err = explain.Print(c.OutOrStdout(), reports, rules)
	} else {
		err = output.Write(document(c), f.format, reports)
	}
	return cmp.Or(err, explain.Outcome(reports))
}
