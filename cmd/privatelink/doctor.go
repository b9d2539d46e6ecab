// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// findings is the answer of a doctor that found faults: exit code 3.
type findings struct{ count int }

func (f findings) Error() string { return fmt.Sprintf("%d checks failed", f.count) }

// reports are the forms in which the doctor tells.
var reports = map[string]func(io.Writer, []doctor.Result) error{"": doctor.Text, "json": doctor.JSON, "junit": doctor.JUnit}

// doctorFlags are the flags of the doctor.
type doctorFlags struct {
	rules     ruleFlags
	of        clusterFlags
	lock      string
	aws       awsFlags
	plainHTTP []string
	inside    insideFlags
	options   doctor.Options
	output    string
	named     string // of the engine
	list      bool
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with the cluster, its images and its network",
		Long: `Say what is wrong with the cluster, its images and its network: for each check what
was found, why it matters, and what to do.

  cluster   the webhook as installed, its certificates, a pod sent as a dry run, and
            the pods of CAST AI's namespaces
  network   VPC endpoints, private DNS, security groups, routes, subnet tags
  identity  who asks AWS, and may he mirror
  registry  every image of the lock file, with the platforms of the nodes; may the
            nodes pull
  inside    DNS, TCP and TLS as a pod sees them; with --probe, or --inside

Nothing is changed. Only --probe creates something: a Job of the webhook's own image,
which runs for seconds and is deleted.

Without --config and --registry the configuration in the cluster is what counts.

What could not be looked at, for want of credentials or a kubeconfig, is never green.
Leave out what you do not want with --skip.

Exit codes: 0 nothing failed, though there may be warnings; 1 something could not be
looked at; 2 wrong usage; 3 a check failed.`,
		Example: `  privatelink doctor
  privatelink doctor --config privatelink.yaml --probe
  privatelink doctor --config privatelink.yaml --only network,identity --eks-cluster CLUSTER -o junit`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.rules.add(c.Flags())
	f.of.add(c.Flags())
	c.Flags().StringVar(&f.lock, "lock", lock.DefaultFile, "`FILE` that says which images there have to be (default without that file: those of the cluster)")
	c.Flags().StringSliceVar(&f.plainHTTP, "plain-http", nil, "`HOST` of a registry without TLS; may be repeated. This machine's own need no mention")
	f.aws.add(c.Flags())
	f.inside.add(c.Flags())
	c.Flags().StringVar(&f.named, "engine", "", "`ENGINE` that there should be: webhook or policy (default: the one in the cluster, webhook if there is none)")
	c.Flags().StringSliceVar(&f.options.Only, "only", nil, "run only these `CHECKS` or groups, such as network or cluster/ca-bundle")
	c.Flags().StringSliceVar(&f.options.Skip, "skip", nil, "leave these `CHECKS` or groups out")
	c.Flags().DurationVar(&f.options.Timeout, "timeout", 8*time.Second, "`TIME` that one check may take; with --probe 30s")
	c.Flags().StringVarP(&f.output, "output", "o", "", "`FORMAT`: json or junit (default: a table)")
	c.Flags().BoolVar(&f.list, "list", false, "say what the checks are, and run none")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "junit"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return c
}

func (f *doctorFlags) run(c *cobra.Command) error {
	report, ok := reports[f.output]
	if !ok {
		return usageError{fmt.Errorf("--output %q: use json or junit", f.output)}
	}
	if f.inside.job && !c.Flags().Changed("timeout") {
		f.options.Timeout = 30 * time.Second // for a node that has to pull the image
	}
	rules, text, err := f.rules.rules()
	if f.rules == (ruleFlags{}) {
		rules, text, err = installed(c, &f.of)
	}
	if err != nil {
		return err
	}
	p := &patient{doctorFlags: f, rules: rules, text: text}
	if p.bundle, err = rendered(rules, text); err != nil {
		return err
	}
	p.client, p.rest, p.away = f.of.connect()
	if p.engine, err = p.engineOf(c.Context()); err != nil {
		return err
	}
	defer p.close()
	checks, err := p.checks(c)
	if err != nil {
		return err
	}
	if f.list {
		return doctor.Explain(c.OutOrStdout(), checks)
	}
	results, err := doctor.Run(c.Context(), checks, f.options)
	switch {
	case c.Context().Err() != nil:
		return err // interrupted
	case err != nil:
		return usageError{err}
	}
	if err := report(c.OutOrStdout(), results); err != nil {
		return err
	}
	return verdict(results)
}

// verdict is the exit code: what is wrong comes before what is not known.
func verdict(results []doctor.Result) error {
	if n := doctor.Count(results, doctor.Failed); n > 0 {
		return findings{n}
	}
	if n := doctor.Count(results, doctor.Unknown); n > 0 {
		return reported{fmt.Errorf("%d checks could not look", n)}
	}
	return nil
}
