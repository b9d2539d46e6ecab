// SPDX-License-Identifier: Apache-2.0

// Package selection decides which images a command works on: those of the named
// sources, or else those of the lock file.
package selection

import (
	"context"
	"fmt"
	"io"
	"slices"
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
	// Chart is a Helm chart, if its Chart field is set.
	Chart chart.Options
	// Cluster reads the namespaces of the configuration in the cluster of Kubeconfig.
	Cluster    bool
	Kubeconfig kubeconfig.Options
	// Warnf reports sources that contribute nothing, and images that are not copied.
	Warnf func(format string, args ...any)
}

// IsEmpty reports whether no source is named.
func (s Sources) IsEmpty() bool {
	return len(s.Sets) == 0 && len(s.Files) == 0 && s.Chart.Chart == "" && !s.Cluster
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
	for _, add := range []func(context.Context, *catalog.List) error{s.addFiles, s.addChart, s.addCluster, addWebhook} {
		if err := add(ctx, list); err != nil {
			return nil, err
		}
	}
	return list.Images(), nil
}

func (s Sources) validate() error {
	c := s.Chart
	switch {
	case c.Chart == "" && len(c.Repo)+len(c.Version)+len(c.Values)+len(c.Set) > 0:
		return exitcode.Usagef("--repo, --version, --values and --chart-set belong to a chart: name it with --chart")
	case s.IsEmpty():
		return exitcode.Usagef("select images with one or more of --set NAME (%s), -f FILE, --chart CHART and --cluster", strings.Join(catalog.Sets(), ", "))
	}
	if first := slices.Index(s.Files, "-"); first >= 0 && slices.Contains(s.Files[first+1:], "-") {
		return exitcode.Usagef("-f -: standard input can be read once")
	}
	return nil
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

func (s Sources) addChart(ctx context.Context, list *catalog.List) error {
	if s.Chart.Chart == "" {
		return nil
	}
	rendered, err := chart.Render(ctx, s.Chart)
	if err != nil {
		return fmt.Errorf("--chart: %w", err)
	}
	if len(rendered.Off) > 0 {
		s.Warnf("chart %s %s: subcharts that its values disable are not included: %s", rendered.Name, rendered.Version, strings.Join(rendered.Off, ", "))
	}
	for _, m := range rendered.Manifests {
		if _, err := list.AddManifest(catalog.Chart, m.Name, m.Text); err != nil {
			return err
		}
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
