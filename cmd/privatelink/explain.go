// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/explain"
)

type explainFlags struct {
	ruleFlags
	engine, guard, failure, namespace, output string
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain (--registry PREFIX | --config FILE) FILE...",
		Short: "Say what would become of pods, without a cluster",
		Long: `Say what would become of the pods in manifests: whether their namespace is
selected, the match conditions and their values, each image with the rule that
decides and the result, and what the guard would say.

The expressions of the install bundle are evaluated with the API server's own CEL
libraries and limits. What other webhooks would change in the pod is not known.

Exit codes: 0 no pod would be stored with a public image; 1 one would, or would be
refused; 2 wrong usage, configuration or manifest.`,
		Example: `  privatelink explain --config privatelink.yaml deployment.yaml
  kubectl get deployment -n castai-agent -o yaml | privatelink explain --registry "$REGISTRY" --engine policy -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error { return f.run(c, files) },
	}
	f.add(c.Flags())
	c.Flags().StringVar(&f.engine, "engine", string(deploy.Webhook), "`ENGINE` that rewrites pods: webhook or policy")
	c.Flags().StringVar(&f.guard, "guard", string(deploy.GuardWarn), "`GUARD` over pods that still have a public image: warn, deny or off")
	c.Flags().StringVar(&f.failure, "failure-policy", "", "`POLICY` for what cannot be evaluated: Fail or Ignore (default Fail for the webhook, Ignore for the policy)")
	c.Flags().StringVarP(&f.namespace, "namespace", "n", "default", "`NAMESPACE` of objects that name none")
	c.Flags().StringVarP(&f.output, "output", "o", "", "`FORMAT`: json for all that is known")
	_ = c.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{"webhook", "policy"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return c
}

func (f *explainFlags) run(c *cobra.Command, files []string) error {
	if f.output != "" && f.output != "json" {
		return usageError{fmt.Errorf("--output %q: there is only json", f.output)}
	}
	rules, text, err := f.rules()
	if err != nil {
		return err
	}
	bundle, err := explain.New(deploy.Options{Rules: rules, Config: text, Engine: deploy.Engine(f.engine), Guard: deploy.Guard(f.guard), FailurePolicy: f.failure})
	if err != nil {
		return usageError{err}
	}
	reports := []explain.Report{}
	for _, file := range files {
		pods, err := f.pods(c.InOrStdin(), file)
		if err != nil {
			return usageError{err}
		}
		for _, p := range pods {
			r, err := bundle.Explain(c.Context(), p)
			if err != nil {
				return err
			}
			reports = append(reports, r)
		}
	}
	if f.output == "json" {
		err = printJSON(c.OutOrStdout(), reports)
	} else {
		err = printReports(c.OutOrStdout(), reports, rules.Namespaces())
	}
	if err == nil && slices.ContainsFunc(reports, explain.Report.Public) {
		return reported{fmt.Errorf("a public image is left")}
	}
	return err
}

func (f *explainFlags) pods(stdin io.Reader, file string) (pods []explain.Pod, err error) {
	var text []byte
	if file == "-" {
		file = "standard input"
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err == nil {
		pods, err = explain.Pods(file, text, f.namespace)
	}
	if err == nil && len(pods) == 0 {
		err = fmt.Errorf("%s: no pod and no workload in it", file)
	}
	return pods, err
}

func printReports(w io.Writer, reports []explain.Report, namespaces []string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(t)
		}
		fmt.Fprintln(t, r.Pod)
		if r.Selected {
			fmt.Fprintf(t, "  namespace\t%s is selected\n", r.Namespace)
		} else {
			fmt.Fprintf(t, "  namespace\t%s is not selected; it is about %s\n", r.Namespace, strings.Join(namespaces, ", "))
		}
		for _, c := range r.Conditions {
			fmt.Fprintf(t, "  condition\t%s: %t\n", c.Name, c.Value)
		}
		if r.Error != "" {
			fmt.Fprintf(t, "  error\t%s\n", r.Error)
		}
		if r.Refused {
			fmt.Fprint(t, "  refused\tthe failure policy is Fail\n")
		}
		for _, image := range r.Images {
			change := image.Source
			if image.Target != image.Source {
				change += " -> " + image.Target
			}
			fmt.Fprintf(t, "  %s\t%s (%s)\n", image.Location, change, image.Rule)
		}
		fmt.Fprintf(t, "  patch\t%s\n", r.Patch)
		fmt.Fprintf(t, "  guard\t%s\n", strings.TrimSuffix(r.Guard.Verdict+": "+r.Guard.Message, ": "))
		if r.Cost > 0 {
			fmt.Fprintf(t, "  cost\t%d for the %s, %d for the guard\n", r.Cost, r.Engine, r.Guard.Cost)
		}
	}
	return t.Flush()
}
