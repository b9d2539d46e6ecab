// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/status"
)

func newStatus() *cobra.Command {
	var cluster clusterFlags
	var o status.Options
	var format output.Format
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of the webhook, its images and its certificates",
		Long: `Show the webhook's replicas, the images that they have rewritten since they started,
images that are missing from the private registry, pods that wait for an image, when
the mirror last ran, the expiry of the certificates and the configuration in use.

Metrics are read from each replica through the API server. This requires permission to
get pods/proxy in the namespace of the webhook. On EKS, the security group of the
nodes must allow the metrics port, 8080, from the cluster security group.

The images of the lock file are looked up in the private registry. Without a lock file
these are not checked; images that pods wait for are. With --no-registry, the registry
is not asked at all.

With --watch, this is repeated every --interval until Ctrl-C. On a terminal the screen is
replaced. In a file or a pipe, the first round and each change are lines; with -o json
or yaml, each change is a document. While the cluster cannot be read, a line says so, and
since when. An image in the registry is looked up once a minute at most.

The mirror's schedule is the CronJob castai-mirror/privatelink-mirror of the cluster, and
elsewhere the lock in S3 tells when a run last wrote it.

Exit codes:
  0  no errors, or --watch was ended with Ctrl-C
  1  no errors, but at least one state is unknown
  2  invalid usage or configuration
  3  errors that need action: fewer ready replicas than wanted, images that are missing
     or differ, pods that wait for an image, a mirror that has not run, a configuration
     that was refused or differs from the cluster's, an expired certificate`,
		Example: `  # Show the state of the cluster in the current kubeconfig context
  privatelink status

  # Watch an upgrade
  privatelink status --watch

  # Write JSON, and do not check the private registry
  privatelink status --no-registry -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Cluster, o.UserAgent, o.Program = cluster.Options, "privatelink/"+version, program(c)
			if watch {
				o.Warn = warner(c)
				return status.Watch(c.Context(), outputOf(c, format), format, o)
			}
			return status.Run(c.Context(), outputOf(c, format), format, o)
		},
	}
	f := c.Flags()
	cluster.add(f)
	f.StringVar(&o.LockFile, "lock", "", lockHelp+storesHelp+" (default: "+lock.DefaultFile+", if it exists)")
	f.DurationVar(&o.MirrorMaxAge, "mirror-max-age", 3*time.Hour, "`DURATION` after which it is an error that the scheduled mirror has not succeeded, or its lock in S3 was not written; 0 for never")
	f.BoolVar(&o.SkipRegistry, "no-registry", false, "do not check the private registry")
	f.StringVar(&o.Profile, "profile", "", profileHelp)
	f.DurationVar(&o.Timeout, "timeout", 10*time.Second, "`DURATION` after which pending requests are given up")
	f.BoolVarP(&watch, "watch", "w", false, "repeat until Ctrl-C, and show changes")
	f.DurationVar(&o.Interval, "interval", 10*time.Second, "`DURATION` between two rounds of --watch, at least 1s")
	output.AddFlag(f, &format, "a table", "with all details", output.JSON, output.YAML, output.HTML)
	return c
}
