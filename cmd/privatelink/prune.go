// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/mirror/prune"
	"github.com/castai/privatelink-webhook/internal/output"
)

func newPrune() *cobra.Command {
	var (
		o     prune.Options
		rules ruleFlags
	)
	c := &cobra.Command{
		Use:   "prune (--keep N | --not-in LOCK)...",
		Short: "Delete images from ECR that are no longer needed",
		Long: `Delete images from the private ECR that are no longer needed: all but the newest N of
each repository, or all that no lock file lists. With both flags, an image is kept if
either keeps it.

Only repositories below the registry prefix are considered. These images are always
kept, with their signatures and platforms: images that any pod or workload of the
cluster uses, the webhook's own images, Helm charts, and untagged images of the last 24
hours, which may be part of an unfinished push. Workloads are Deployments, StatefulSets, DaemonSets,
ReplicaSets of old revisions, Jobs, CronJobs and stored Helm releases with their hooks,
also if they are scaled to 0.

Nothing is deleted if any of these cannot be listed, if the cluster uses no image of
the registry, or if a lock file lists images that were not copied.

Without --yes, nothing is deleted: the images are listed. With --yes, the cluster whose
images are kept must be named with --context; on a terminal, the command asks instead.

Exit codes:
  0  the images were listed or, with --yes, deleted
  1  an image could not be deleted, or the cluster or ECR could not be read
  2  invalid usage or configuration`,
		Example: `  # List all images but the newest three of each repository
  privatelink prune --config privatelink.yaml --keep 3

  # Delete the images that the lock file does not list
  privatelink prune --config privatelink.yaml --not-in privatelink.lock.yaml --context prod --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runPrune(c, rules, o) },
	}
	rules.add(c.Flags())
	addClusterFlags(c.Flags(), &o.Cluster)
	c.Flags().StringVar(&o.Connect.Profile, "profile", "", profileHelp)
	c.Flags().IntVar(&o.KeepNewest, "keep", 0, "`NUMBER` of images to keep in each repository, the newest")
	c.Flags().StringSliceVar(&o.LockFiles, "not-in", nil, "`LOCK` file whose images are kept; may be repeated, for several clusters")
	c.Flags().BoolVar(&o.Delete, "yes", false, "delete the images instead of listing them")
	c.Flags().BoolVar(&o.IgnoreCluster, "no-cluster", false, "do not keep the images that the cluster uses")
	return c
}

func runPrune(c *cobra.Command, rules ruleFlags, o prune.Options) error {
	r, _, err := rules.rules()
	if err != nil {
		return err
	}
	reporter := newReporter(c, output.Text)
	o.Rules, o.Out, o.Protected = r, c.OutOrStdout(), []string{deploy.WebhookRepository(r)}
	o.Connect.Warn, o.Connect.UserAgent = reporter.Warn, "privatelink/"+version
	if o.Delete && !o.IgnoreCluster {
		a := action(c, o.Cluster, o.Delete, "delete these images of "+r.Registry()+", which are not used")
		if err := a.Possible(); err != nil {
			return err
		}
		o.Confirm = a.Ask
	}
	return prune.Run(c.Context(), o)
}
