// SPDX-License-Identifier: Apache-2.0

// Package selection decides which images a command works on: those of the named
// sources, or else those of the lock file.
package selection

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Sources name where images are listed. They can be combined.
type Sources struct {
	// Sets are sets of the embedded catalog.
	Sets []string
	// Files are manifests; "-" is Stdin.
	Files []string
	Stdin io.Reader
	// Charts are Helm charts, each as chart.ParseName reads it. ChartOptions apply to
	// all of them; its Chart is not used, and its Version is that of a single chart.
	Charts       []string
	ChartOptions chart.Options
	// Cluster reads the namespaces of the configuration in the cluster of Kubeconfig.
	Cluster    bool
	Kubeconfig kubeconfig.Options
	// Warnf reports sources that contribute nothing, and images that are not copied.
	Warnf func(format string, args ...any)
}

// IsEmpty reports whether no source is named.
func (s Sources) IsEmpty() bool {
	return len(s.Sets) == 0 && len(s.Files) == 0 && len(s.Charts) == 0 && !s.Cluster
}

// Images returns the images of all sources, and the webhook's own image.
func (s Sources) Images(ctx context.Context, rules *rewrite.Rules) ([]catalog.Entry, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	list := catalog.New(rules)
	for _, set := range s.Sets {
		if err := list.AddSet(set); err != nil {
			return nil, exitcode.Usagef("--set: %w", err)
		}
	}
	for _, add := range []func(context.Context, *catalog.List) error{s.addFiles, s.addCharts, s.addCluster, addWebhook} {
		if err := add(ctx, list); err != nil {
			return nil, err
		}
	}
	return list.Images(), nil
}

func (s Sources) validate() error {
	if err := s.validateCharts(); err != nil {
		return err
	}
	if s.IsEmpty() {
		return exitcode.Usagef("select images with one or more of --set NAME (%s), -f FILE, --chart CHART and --cluster", strings.Join(catalog.Sets(), ", "))
	}
	// The values are read for each chart.
	if count(s.Files, "-")+count(s.ChartOptions.Values, "-")*len(s.Charts) > 1 {
		return exitcode.Usagef("-f - or --values -: standard input can be read once")
	}
	return nil
}

func (s Sources) validateCharts() error {
	o := s.ChartOptions
	if len(s.Charts) == 0 && len(o.Repo)+len(o.Version)+len(o.Values)+len(o.Set) > 0 {
		return exitcode.Usagef("--repo, --version, --values and --chart-set belong to a chart: name it with --chart")
	}
	for _, c := range s.Charts {
		name, version := chart.ParseName(c)
		switch {
		case name == "":
			return exitcode.Usagef("--chart is empty: name a chart, or leave the flag out")
		case o.Version != "" && version != "":
			return exitcode.Usagef("--chart %s and --version %s: name the version once", c, o.Version)
		case o.Version != "" && len(s.Charts) > 1:
			return exitcode.Usagef("--version %s belongs to a single chart: write the version of each chart as --chart %s@VERSION", o.Version, name)
		}
	}
	return nil
}

func count(all []string, text string) (n int) {
	for _, s := range all {
		if s == text {
			n++
		}
	}
	return n
}

func (s Sources) addFiles(_ context.Context, list *catalog.List) error {
	for _, file := range s.Files {
		name, text, err := manifest.ReadFile(file, s.Stdin)
		if err != nil {
			return fmt.Errorf("-f: %w", err)
		}
		found, err := list.AddManifest(catalog.Manifest, name, text)
		if err != nil {
			return err
		}
		if found == 0 {
			s.Warnf("%s names no image", name)
		}
	}
	return nil
}

func (s Sources) addCharts(ctx context.Context, list *catalog.List) error {
	for _, c := range s.Charts {
		o := s.ChartOptions
		name, version := chart.ParseName(c)
		o.Chart, o.Version, o.Stdin = name, cmp.Or(version, o.Version), s.Stdin
		if err := s.addChart(ctx, list, o); err != nil {
			return fmt.Errorf("--chart %s: %w", c, err)
		}
	}
	return nil
}

// addChart adds the images of a chart. A chart without any is an error: more often
// than not its components are switched off.
func (s Sources) addChart(ctx context.Context, list *catalog.List, o chart.Options) error {
	rendered, err := chart.Render(ctx, o)
	if err != nil {
		return err
	}
	for _, off := range rendered.Off {
		s.Warnf("chart %s %s: %s", rendered.Name, rendered.Version, off)
	}
	for _, w := range rendered.Warnings {
		s.Warnf("chart %s %s: %s", rendered.Name, rendered.Version, w)
	}
	fields := 0
	for _, m := range rendered.Manifests {
		n, err := list.AddManifest(catalog.Chart, m.Name, m.Text)
		if err != nil {
			return err
		}
		fields += n
	}
	if fields == 0 {
		return fmt.Errorf("%s %s renders no image: %s", rendered.Name, rendered.Version, rendered.Remedy())
	}
	return nil
}

func (s Sources) addCluster(ctx context.Context, list *catalog.List) error {
	if !s.Cluster {
		return nil
	}
	client, err := s.Kubeconfig.Client()
	if err != nil {
		return err
	}
	found, err := live.Read(ctx, client, list)
	if err != nil {
		return fmt.Errorf("--cluster: %w", err)
	}
	if found == 0 {
		s.Warnf("the cluster has no workload, Helm release or pod in %s", strings.Join(list.Rules().Namespaces(), ", "))
	}
	return nil
}

// addWebhook adds the webhook's image as the install bundle names it.
func addWebhook(_ context.Context, list *catalog.List) error {
	image, err := deploy.WebhookImage(list.Rules())
	if err != nil {
		return err
	}
	list.AddWebhook(image)
	return nil
}
