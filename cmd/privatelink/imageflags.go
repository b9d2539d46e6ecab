// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// imageFlags say which images: the sources of a catalog.List.
type imageFlags struct {
	sets, files []string
	chart       chartFlags
	cluster     bool
	of          clusterFlags
}

// chartFlags name a Helm chart and its values.
type chartFlags struct {
	name, repo, version string
	values, set         []string
}

func (f *imageFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.sets, "set", nil, "`NAME` of a set of the embedded catalog: "+strings.Join(catalog.Sets(), ", ")+"; may be repeated")
	flags.StringArrayVarP(&f.files, "filename", "f", nil, "manifest `FILE` that names images, - for standard input; may be repeated")
	flags.StringVar(&f.chart.name, "chart", "", "Helm `CHART`: a name of CAST AI's repository, a folder, an archive or a URL")
	flags.StringVar(&f.chart.repo, "repo", "", "`URL` of the Helm repository that has the chart (default: "+chart.DefaultRepo+")")
	flags.StringVar(&f.chart.version, "version", "", "`VERSION` of the chart (default: the newest)")
	flags.StringArrayVar(&f.chart.values, "values", nil, "`FILE` of values for the chart; may be repeated")
	flags.StringArrayVar(&f.chart.set, "chart-set", nil, "`KEY=VALUE` for the chart; may be repeated")
	flags.BoolVar(&f.cluster, "cluster", false, "read the namespaces of the configuration in the live cluster: workloads, Helm releases, pods")
	f.of.add(flags)
}

// empty reports whether no source is named.
func (f *imageFlags) empty() bool {
	return len(f.sets) == 0 && len(f.files) == 0 && f.chart.name == "" && !f.cluster
}

// list reads all sources. The webhook's own image is always in the list.
func (f *imageFlags) list(c *cobra.Command, rules *rewrite.Rules) ([]catalog.Entry, error) {
	switch {
	case f.chart.name == "" && len(f.chart.repo)+len(f.chart.version)+len(f.chart.values)+len(f.chart.set) > 0:
		return nil, usageError{errors.New("--repo, --version, --values and --chart-set belong to a chart: name it with --chart")}
	case f.empty():
		return nil, usageError{errors.New("say which images, with one or more of --set NAME (" + strings.Join(catalog.Sets(), ", ") + "), -f FILE, --chart CHART and --cluster")}
	}
	list := catalog.New(rules)
	for _, s := range f.sets {
		if err := list.AddSet(s); err != nil {
			return nil, usageError{fmt.Errorf("--set: %w", err)}
		}
	}
	for _, add := range []func(*cobra.Command, *catalog.List) error{f.addFiles, f.addChart, f.addCluster, addWebhook} {
		if err := add(c, list); err != nil {
			return nil, err
		}
	}
	return list.Images(), nil
}

func (f *imageFlags) addFiles(c *cobra.Command, into *catalog.List) error {
	for n, file := range f.files {
		name := file
		read := func() ([]byte, error) { return os.ReadFile(file) }
		if file == "-" {
			if slices.Contains(f.files[:n], file) {
				return usageError{errors.New("-f -: standard input can be read once")}
			}
			name = "standard input"
			read = func() ([]byte, error) { return io.ReadAll(c.InOrStdin()) }
		}
		text, err := read()
		if err != nil {
			return fmt.Errorf("-f: %w", err)
		}
		places, err := into.AddManifest(catalog.Manifest, name, text)
		if err != nil {
			return err
		}
		if places == 0 {
			fmt.Fprintf(c.ErrOrStderr(), "privatelink: %s names no image\n", name)
		}
	}
	return nil
}

func (f *imageFlags) addChart(c *cobra.Command, into *catalog.List) error {
	if f.chart.name == "" {
		return nil
	}
	rendered, err := chart.Render(c.Context(), chart.Options{Chart: f.chart.name, Repo: f.chart.repo, Version: f.chart.version, Values: f.chart.values, Set: f.chart.set})
	if err != nil {
		return fmt.Errorf("--chart: %w", err)
	}
	if len(rendered.Off) > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "privatelink: chart %s %s: switched off by its values, and not looked at: %s\n", rendered.Name, rendered.Version, strings.Join(rendered.Off, ", "))
	}
	for _, m := range rendered.Manifests {
		if _, err := into.AddManifest(catalog.Chart, m.Name, m.Text); err != nil {
			return err
		}
	}
	return nil
}

func (f *imageFlags) addCluster(c *cobra.Command, into *catalog.List) error {
	if !f.cluster {
		return nil
	}
	client, err := f.of.client()
	if err != nil {
		return err
	}
	seen, err := live.Read(c.Context(), client, into)
	if err != nil {
		return fmt.Errorf("--cluster: %w", err)
	}
	if seen == 0 {
		fmt.Fprintf(c.ErrOrStderr(), "privatelink: the cluster has no workload, Helm release or pod in %s\n", strings.Join(into.Rules().Namespaces(), ", "))
	}
	return nil
}

// addWebhook adds the image of the webhook as the install bundle names it.
func addWebhook(_ *cobra.Command, into *catalog.List) error {
	image, err := deploy.WebhookImage(into.Rules())
	if err != nil {
		return err
	}
	into.AddWebhook(image)
	return nil
}
