// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/configfile"
	doctorcluster "github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/suite"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/output"
)

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	suite.Options
	rules   ruleFlags
	cluster clusterFlags
	format  output.Format
	// These print something about the checks, and run none.
	list, iamPolicy, clusterRoles bool
}

func (f *doctorFlags) add(flags *pflag.FlagSet) {
	f.rules.add(flags)
	configfile.Exclude(flags)
	f.cluster.add(flags)
	flags.StringVar(&f.LockFile, "lock", "", lockHelp+storesHelp+" (default: "+lock.DefaultFile+", if it exists)")
	flags.StringSliceVar(&f.PlainHTTP, "plain-http", nil, plainHTTPHelp)
	flags.StringVar(&f.AWS.Profile, "profile", "", profileHelp)
	flags.StringVar(&f.AWS.Region, "region", "", "`REGION` of the cluster (default: as in the kubeconfig, or else that of the registry)")
	flags.StringVar(&f.AWS.Cluster, "eks-cluster", "", "`NAME` of the EKS cluster (default: as in the kubeconfig)")
	flags.StringVar(&f.AWS.VPC, "vpc", "", "`ID` of the VPC, if there is no cluster yet")
	flags.StringSliceVar(&f.AWS.Subnets, "subnet", nil, "`ID` of a subnet of the nodes; may be repeated (default: those of the cluster)")
	flags.StringToStringVar(&f.AWS.Services, "castai-service", nil, "`NAME=SERVICE` of CAST AI's PrivateLink for a region that is not known, such as api= and the name of the endpoint service; may be repeated")
	flags.Lookup("castai-service").DefValue = "" // none, in place of []
	flags.BoolVar(&f.Probe, "probe", false, "check DNS, TCP and TLS from a pod: run a short Job in the namespace of the webhook")
	flags.BoolVar(&f.Inside, "inside", false, "check DNS, TCP and TLS from this machine, which is in the VPC")
	flags.StringSliceVar(&f.CASTAIHosts, "castai-host", nil, "`HOST:PORT` of CAST AI for --probe and --inside; may be repeated (default: those of the US, if CAST AI serves the region over PrivateLink)")
	flags.StringVar(&f.Engine, "engine", "", engineHelp+" (default: the one that is installed, or else webhook)")
	flags.StringSliceVar(&f.Run.Only, "only", nil, "run only these `CHECKS` or groups, such as network or cluster/ca-bundle")
	flags.StringSliceVar(&f.Run.Skip, "skip", nil, "exclude these `CHECKS` or groups")
	flags.DurationVar(&f.Run.Timeout, "timeout", 0, "`DURATION` after which a check is given up (default: 8s, with --probe 30s)")
	flags.DurationVar(&f.Wait, "wait", 0, "`DURATION` during which the checks are repeated while one fails or is unknown, such as 5m")
	output.AddFlag(flags, &f.format, "a table", "a report", output.JSON, output.YAML, output.HTML, suite.JUnit)
	flags.BoolVar(&f.Redact, "redact", false, "replace account IDs, ARNs, IP addresses, and the names of clusters, nodes and VPCs in the report by placeholders, such as account-1")
	flags.BoolVar(&f.iamPolicy, "iam-policy", false, "print the IAM policy that the checks of AWS need, for the repositories of --registry or --config and a --lock in S3, without running them")
	flags.BoolVar(&f.list, "list", false, "list the checks without running them")
	flags.BoolVar(&f.clusterRoles, "cluster-roles", false, "print ClusterRoles for the checks, for kubectl apply -f -")
}

func (f *doctorFlags) run(c *cobra.Command) (err error) {
	if f.clusterRoles {
		return doctorcluster.WriteRoles(document(c))
	}
	if f.list {
		return suite.List(outputOf(c, f.format), f.format, f.Options)
	}
	if f.rules != (ruleFlags{}) {
		if f.Rules, f.Config, err = f.rules.rules(); err != nil {
			return err
		}
	}
	if f.iamPolicy {
		return suite.IAMPolicy(c.OutOrStdout(), f.Rules, f.LockFile)
	}
	f.Cluster, f.UserAgent = f.cluster.Options, "privatelink/"+version
	f.Program, f.Warn = program(c), warner(c)
	return suite.Run(c.Context(), outputOf(c, f.format), f.format, f.Options)
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Diagnose the cluster, its images and its network",
		Long: `Diagnose the cluster, its images and its network. For each check, the report shows
what was found and, unless the check passed, why it matters and how to correct it.

  cluster   the installed webhook, its certificates, a pod sent as a dry run, and the
            pods in CAST AI's namespaces
  network   VPC endpoints, private DNS, security groups, routes, subnet tags
  identity  the AWS caller, and its permissions to mirror
  registry  all images of the lock file, for the platforms of the nodes, and the
            permission of the nodes to pull them
  inside    DNS, TCP and TLS as a pod sees them; requires --probe or --inside

Checks only read. --probe alone creates an object: a Job that runs the webhook's own
image for some seconds and is then deleted.

Without --config and --registry, the configuration in the cluster is used, also if
privatelink.yaml is in the current folder.

With --wait, all checks are repeated until none fails or is unknown, or until the time
is over, for example after an installation. The report is that of the last round.

-o html writes one file with a picture of the network, which shows the state of each
part, and all findings. It needs no network and runs no script. --redact replaces what
identifies accounts, clusters, nodes and networks, in all formats.

--list describes the checks, and --cluster-roles prints ClusterRoles with the permissions
that they need in the cluster. Both need no cluster, configuration or credentials.

Checks that cannot run (no credentials, no kubeconfig) are reported as unknown, never
as ok. Use --skip to exclude checks.

Exit codes:
  0  no check failed; there may be warnings
  1  at least one check is unknown
  2  invalid usage or configuration
  3  at least one check failed`,
		Example: `  # Check an installed cluster, with the configuration that it has
  privatelink doctor

  # Wait until an installation is complete
  privatelink doctor --only cluster --wait 5m

  # Check against a configuration file, and the network from a pod as well
  privatelink doctor --config privatelink.yaml --probe

  # Write a report with a picture of the network, to send to others
  privatelink doctor --probe --redact -o html > report.html

  # Check only the network and the permissions, and write a JUnit report
  privatelink doctor --config privatelink.yaml --only network,identity --eks-cluster CLUSTER -o junit`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.add(c.Flags())
	return c
}
