// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/progress"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/terminal"
	"github.com/castai/privatelink-webhook/internal/transfer"
	"github.com/castai/privatelink-webhook/internal/webhookimage"
)

// Lines of help for flags that several commands have.
const (
	configHelp    = "configuration `FILE`, privatelink.yaml"
	filenameHelp  = "manifest `FILE` or folder, - for standard input; may be repeated"
	lockHelp      = "lock `FILE` with the digest of each image"
	storesHelp    = ", or configmap://NAMESPACE/NAME or s3://BUCKET/KEY"
	profileHelp   = "AWS `PROFILE` (default: as the AWS CLI)"
	plainHTTPHelp = "`HOST` or http:// URL of a registry without TLS; may be repeated. Loopback hosts are implied"
	overwriteHelp = "move tags of the private registry that refer to other content"
	engineHelp    = "`ENGINE` that rewrites pods: webhook or policy"
	guardHelp     = "`GUARD` for pods that still have a public image: warn, deny or off"
	failureHelp   = "`POLICY` while the webhook cannot be reached, or if an expression cannot be evaluated: Fail refuses such pods, Ignore admits them unchanged (default: Fail for the webhook, Ignore for the policy)"
	namespaceHelp = "`NAMESPACE` of the webhook (default: " + deploy.Namespace + ")"
)

// setHelp and overlayHelp list the names that they accept.
func setHelp() string {
	return "`NAME` of a set of the embedded catalog: " + strings.Join(catalog.Sets(), ", ") + "; may be repeated"
}

func overlayHelp() string {
	return "`NAME` of a variant: " + strings.Join(deploy.Overlays(), ", ") + "; may be repeated"
}

// addSourceFlags adds the flags that select images.
func addSourceFlags(c *cobra.Command, s *selection.Sources) {
	s.ChartOptions.Command = renderCommand()
	flags := c.Flags()
	flags.StringSliceVar(&s.Sets, "set", nil, setHelp())
	flags.StringArrayVarP(&s.Files, "filename", "f", nil, filenameHelp)
	flags.StringArrayVar(&s.Charts, "chart", nil, "Helm `CHART`: a name in CAST AI's repository, optionally as NAME@VERSION, a folder, an archive, a URL or oci://...; may be repeated")
	flags.StringVar(&s.ChartOptions.Repo, "repo", "", "`URL` of the Helm repository of all charts (default: "+chart.DefaultRepo+")")
	flags.StringVar(&s.ChartOptions.Version, "version", "", "`VERSION` of the chart, if only one is named (default: the newest)")
	flags.StringArrayVar(&s.ChartOptions.Values, "values", nil, "`FILE` with values for all charts, - for standard input; may be repeated")
	flags.StringArrayVar(&s.ChartOptions.Set, "chart-set", nil, "`KEY=VALUE` for all charts; may be repeated")
	flags.StringVar(&s.ChartOptions.KubeVersion, "kube-version", "", "`VERSION` of Kubernetes that charts are rendered for (default: 1.37)")
	flags.StringSliceVar(&s.ChartOptions.APIVersions, "api-versions", nil, "`API` that charts find in the cluster in addition to those of Kubernetes, such as monitoring.coreos.com/v1; may be repeated")
	flags.BoolVar(&s.Track, "track", false, "read the newest versions of the charts under track in the configuration; without any, those of the sets, or else of the umbrella")
	flags.BoolVar(&s.Cluster, "cluster", false, "read workloads, Helm releases and pods of the configured namespaces in the cluster")
	flags.BoolVar(&s.Ahead, "ahead", false, "with --cluster, read the next versions of the charts of Helm releases in the cluster, with the values of the releases")
	addClusterFlags(flags, &s.Kubeconfig)
	s.Webhook = webhookimage.Repository
	flags.Var((*imageFlag)(&s.Webhook), "webhook-image", "`IMAGE` to copy as the webhook's own; without a tag, the tag is that of this version. Released commands carry the default")
	flags.BoolVar(&s.WithoutWebhook, "no-webhook-image", false, "exclude the webhook's own image, for instance with the policy engine")
}

// addChartsFlag adds the flag that selects the tracked charts themselves.
func addChartsFlag(flags *pflag.FlagSet, s *selection.Sources) {
	flags.BoolVar(&s.TrackedCharts, "charts", false, "with --track, select the charts themselves as well: below charts/ in the private registry, for Helm with oci://")
}

// imageFlag is a flag that must not be empty, as an unset variable of a shell is.
type imageFlag string

func (f *imageFlag) String() string { return string(*f) }

func (f *imageFlag) Type() string { return "string" }

func (f *imageFlag) Set(text string) error {
	if text == "" {
		return errors.New("is empty: give an image reference, or leave the flag out")
	}
	*f = imageFlag(text)
	return nil
}

// addLockFlags adds the flags for the lock file of a run.
func addLockFlags(flags *pflag.FlagSet, f *selection.LockFile) {
	flags.StringVar(&f.Name, "lock", lock.DefaultFile, lockHelp+storesHelp)
	flags.BoolVar(&f.Update, "update", false, "resolve all tags at their source registries, and ignore the digests in the lock file")
}

// prepare sets what a run that selects images needs in addition to its flags: the rules, the lock
// and the reporter.
func prepare(c *cobra.Command, rules ruleFlags, format output.Format, o *transfer.Options, s *selection.Sources, f *selection.LockFile) (err error) {
	o.Reporter = newReporter(c, format)
	if o.Rules, _, err = rules.rules(); err != nil {
		return err
	}
	attach(c, s, o.Reporter)
	f.Store, err = lockstore.Open(f.Name, lockstore.Options{Kubeconfig: s.Kubeconfig, Profile: o.Profile})
	return exitcode.AsUsage(err)
}

// attach sets where sources read and report.
func attach(c *cobra.Command, s *selection.Sources, r *progress.Reporter) {
	s.Stdin, s.Warnf, s.TrackCache = c.InOrStdin(), r.Warnf, chart.NewCache(cacheFolder(), r.Warnf)
}

// addRegistryFlags adds the flags for connections to registries.
func addRegistryFlags(flags *pflag.FlagSet, o *transfer.Options) {
	o.WebhookLayout = webhookimage.Layout()
	flags.BoolVar(&o.NoReferrers, "no-referrers", false, "exclude signatures, attestations and SBOMs")
	flags.IntVar(&o.Parallel, "parallel", 32, "`NUMBER` of transfers at a time")
	flags.StringVar(&o.Profile, "profile", "", profileHelp)
	flags.StringSliceVar(&o.PlainHTTP, "plain-http", nil, plainHTTPHelp)
}

// addPlatformFlag adds the flag that selects platforms.
func addPlatformFlag(flags *pflag.FlagSet, o *transfer.Options) {
	flags.StringSliceVar(&o.Platforms, "platform", nil, "keep only this `PLATFORM`, such as linux/arm64; may be repeated. This changes the digest of the image, so that only the signatures of its platforms stay valid")
}

// addPushFlags adds the flags for writes to the private registry.
func addPushFlags(flags *pflag.FlagSet, o *transfer.Options) {
	flags.BoolVar(&o.Overwrite, "overwrite", false, overwriteHelp)
	flags.Var(&o.ExpectRole, "expect-role", "copy nothing unless the AWS caller is a session of the IAM role with this `ARN`")
	flags.BoolVar(&o.StrictReferrers, "strict-referrers", false, "fail an image whose signatures cannot be read or are refused, instead of a warning")
}

// addEventsFlag adds the format of a command that reports events. others are formats that
// it has in addition.
func addEventsFlag(c *cobra.Command, format *output.Format, others ...output.Format) {
	output.AddFlag(c.Flags(), format, "text", "one event a line or document, and a summary as the last one", append([]output.Format{output.JSON, output.YAML}, others...)...)
}

// newReporter returns a reporter for an output format.
func newReporter(c *cobra.Command, format output.Format) *progress.Reporter {
	return progress.New(progress.Options{Out: outputOf(c, format), ErrOut: c.ErrOrStderr(), Format: format, Version: version, Program: program(c)})
}

// document returns where a document for programs is written, such as YAML or JSON.
func document(c *cobra.Command) io.Writer { return terminal.Payload(c.OutOrStdout()) }

// outputOf returns where output of the format is written.
func outputOf(c *cobra.Command, format output.Format) io.Writer {
	if format == output.Text {
		return c.OutOrStdout()
	}
	return document(c)
}

// program names a command with its version, for the header of a report.
func program(c *cobra.Command) string { return c.CommandPath() + " " + version }

// warner returns what writes a message of a command to standard error.
func warner(c *cobra.Command) func(string) {
	return func(message string) { fmt.Fprintln(c.ErrOrStderr(), "privatelink:", message) }
}
