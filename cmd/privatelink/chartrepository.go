// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/chartrepo"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/output"
)

func newChartRepository() *cobra.Command {
	var (
		o     chartrepo.Options
		rules ruleFlags
		lock  string
		kube  kubeconfig.Options
	)
	c := &cobra.Command{
		Use:   "chart-repository PLACE",
		Short: "Write a chart repository to a folder or to S3",
		Long: `Write a chart repository to a folder or to s3://BUCKET/PREFIX: index.yaml, and the
archives of the newest versions of charts. A web server, or S3 itself, serves them to
what fetches charts by HTTP and not from a registry, such as CAST AI's operator, with
its helmRepoURL. The operator needs --url: it does not resolve relative addresses in
the index, as Helm does.

The charts are those under track in the configuration, or else those of --set.
Archives are compared with the digests in the repository's index, and copied unchanged.
With --lock, a version waits until privatelink mirror --track with that lock has copied
its images.

Other versions that are there stay. The same versions give the same index, which is
replaced as a whole, after the archives. A version whose archive was replaced in the
repository is refused, and does not stop the others.

In S3, an archive is never replaced, and the index only if no other run has replaced it
meanwhile: then it gets what both have added. Nothing is deleted.

Exit codes:
  0  the place has the newest versions
  1  at least one version could not be added, or the repository could not be read
  2  invalid usage or configuration`,
		Example: `  # Write the newest versions of CAST AI's umbrella chart to a folder
  privatelink chart-repository --config privatelink.yaml --url https://charts.example.com charts

  # Write those whose images are mirrored to S3
  privatelink chart-repository --config privatelink.yaml --lock privatelink.lock.yaml s3://my-charts/castai`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.Rules, _, err = rules.rules(); err != nil {
				return err
			}
			if lock != "" {
				if o.Lock, err = lockstore.Open(lock, lockstore.Options{Kubeconfig: kube, Profile: o.Profile}); err != nil {
					return exitcode.AsUsage(err)
				}
			}
			o.Place, o.Out, o.Warnf = args[0], c.OutOrStdout(), newReporter(c, output.Text).Warnf
			o.Charts.Command, o.Cache = renderCommand(), chart.NewCache(cacheFolder(), o.Warnf)
			return chartrepo.Run(c.Context(), o)
		},
	}
	rules.add(c.Flags())
	c.Flags().StringVar(&o.URL, "url", "", "`URL` at which PLACE is served, for absolute addresses of the archives in the index (default: in S3 that of the bucket, elsewhere none)")
	c.Flags().StringSliceVar(&o.Sets, "set", nil, setHelp())
	c.Flags().StringVar(&lock, "lock", "", lockHelp+storesHelp)
	c.Flags().StringVar(&o.Profile, "profile", "", profileHelp)
	addClusterFlags(c.Flags(), &kube)
	return c
}
