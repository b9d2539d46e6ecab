// SPDX-License-Identifier: Apache-2.0

// Package selection decides which images a command works on: those of the named
// sources, or else those of the lock file.
package selection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/catalog/track"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/webhookimage"
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
	// Track reads the newest versions of the charts that the configuration tracks, or else
	// of those of Sets, or else of CAST AI's umbrella. TrackCache keeps what was read.
	Track      bool
	TrackCache chart.Cache
	tracked    map[string]string // lock.Lock.Tracked
	// TrackedCharts selects the tracked versions of charts as well, as artifacts.
	TrackedCharts bool
	// Ahead reads the next versions of the charts of the Helm releases in the cluster, with
	// the values of the releases.
	Ahead bool
	// Missing reads the images that pods in the cluster wait for. It is the only source.
	Missing bool
	// Cluster reads the namespaces of the configuration in the cluster of Kubeconfig.
	Cluster    bool
	Kubeconfig kubeconfig.Options
	// Webhook is where the webhook's own image comes from, which belongs to the images of
	// all sources: webhookimage.Repository or a reference to a registry. Without a tag and a
	// digest, the tag is that of this version. "" and WithoutWebhook leave the image out.
	Webhook        string
	WithoutWebhook bool
	// Warnf reports components of a chart that are off, and images that are not copied.
	Warnf func(format string, args ...any)
}

// IsEmpty reports whether no source is named.
func (s Sources) IsEmpty() bool {
	return len(s.Sets) == 0 && len(s.Files) == 0 && len(s.Charts) == 0 && !s.Cluster && !s.Track && !s.Ahead && !s.Missing
}

// ReadsCluster reports whether a source is the cluster.
func (s Sources) ReadsCluster() bool { return s.Cluster || s.Missing }

// Images returns the images of all sources, and the webhook's own image. A source that
// names no image is an error: a list that lacks what it should have would pass for a
// complete one. Versions of tracked charts whose images are not known do not stop the
// others; they are the failures.
func (s Sources) Images(ctx context.Context, rules *rewrite.Rules) (images []catalog.Entry, failures []error, err error) {
	images, added, err := s.images(ctx, rules)
	return images, added.Failures, err
}

// images also returns what was tracked.
func (s Sources) images(ctx context.Context, rules *rewrite.Rules) (images []catalog.Entry, added track.Added, err error) {
	list := catalog.New(rules)
	if added, err = s.addAll(ctx, list); err != nil {
		return nil, track.Added{}, err
	}
	source, target, err := s.webhook(rules)
	if err != nil {
		return nil, track.Added{}, err
	}
	if source != "" && !s.Missing {
		list.AddWebhook(source, target, webhookimage.IsCarried(source))
	}
	return list.Images(), added, nil
}

// addAll adds the images of all sources.
func (s Sources) addAll(ctx context.Context, list *catalog.List) (added track.Added, err error) {
	if err := s.validate(); err != nil {
		return track.Added{}, err
	}
	for _, set := range s.Sets {
		if err := list.AddSet(set); err != nil {
			return track.Added{}, exitcode.Usagef("--set: %w", err)
		}
	}
	s.warnOfUnknown()
	var empty []error
	for _, add := range []func(context.Context, *catalog.List) (empty []error, err error){s.addFiles, s.addCharts, s.addCluster, s.addMissing} {
		without, err := add(ctx, list)
		if err != nil {
			return track.Added{}, err
		}
		empty = append(empty, without...)
	}
	if len(empty) > 0 {
		return track.Added{}, errors.Join(empty...)
	}
	return s.addTracked(ctx, list)
}

func (s Sources) validate() error {
	if err := s.validateCharts(); err != nil {
		return err
	}
	if err := s.validateCluster(); err != nil {
		return err
	}
	if s.IsEmpty() {
		return exitcode.Usagef("select images with one or more of --set NAME (%s), -f FILE, --chart CHART, --track and --cluster", strings.Join(catalog.Sets(), ", "))
	}
	// The values are read for each chart.
	if count(s.Files, "-")+count(s.ChartOptions.Values, "-")*len(s.Charts) > 1 {
		return exitcode.Usagef("-f - or --values -: standard input can be read once")
	}
	return nil
}

// warnOfUnknown names the components of the sets whose images the catalog cannot
// know, unless another source has them.
func (s Sources) warnOfUnknown() {
	var unknown []string
	for _, set := range s.Sets {
		for _, component := range catalog.Unknown(set) {
			if !s.Cluster && !s.hasChart(component) && !slices.Contains(unknown, component) {
				unknown = append(unknown, component)
			}
		}
	}
	switch len(unknown) {
	case 0:
	case 1:
		s.Warnf("%s's images are not in the catalog: use --chart %s or --cluster", unknown[0], unknown[0])
	default:
		s.Warnf("the images of %s are not in the catalog: use --chart NAME or --cluster", strings.Join(unknown, ", "))
	}
}

func (s Sources) hasChart(component string) bool {
	return slices.ContainsFunc(s.Charts, func(c string) bool {
		name, _ := chart.ParseName(c)
		return name == component
	})
}

func (s Sources) validateCharts() error {
	if s.TrackedCharts && !s.Track {
		return exitcode.Usagef("--charts copies the charts that --track reads: add --track")
	}
	o := s.ChartOptions
	ofCharts := len(o.Repo) + len(o.Version) + len(o.Values) + len(o.Set)
	if !s.Track {
		ofCharts += len(o.KubeVersion) + len(o.APIVersions)
	}
	if len(s.Charts) == 0 && ofCharts > 0 {
		return exitcode.Usagef("--repo, --version, --values, --chart-set, --kube-version and --api-versions belong to a chart: name it with --chart")
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

func (s Sources) addFiles(_ context.Context, list *catalog.List) (empty []error, err error) {
	for _, file := range s.Files {
		images, err := s.addFile(list, file)
		switch {
		case err != nil:
			return nil, err
		case images > 0:
		case file == "-":
			empty = append(empty, errors.New("-f -: standard input names no image: check the command that writes it"))
		default:
			empty = append(empty, fmt.Errorf("-f %s: the file names no image: leave it out", file))
		}
	}
	return empty, nil
}

// addFile adds the images of a file, or of the files in a folder, and returns their
// number.
func (s Sources) addFile(list *catalog.List, file string) (images int, err error) {
	inputs, err := manifest.ReadFiles([]string{file}, s.Stdin)
	if err != nil {
		return 0, fmt.Errorf("-f: %w", err)
	}
	for _, input := range inputs {
		found, err := list.AddManifest(catalog.Manifest, input.Name, input.Text)
		if err != nil {
			return 0, err
		}
		images += len(found.Changes)
		s.warnOthers(input.Name, found)
	}
	return images, nil
}

// warnOthers reports what is not listed but may be a public image.
func (s Sources) warnOthers(name string, found manifest.Found) {
	for _, c := range found.Changes {
		if c.Env != "" && c.Result.Reason == rewrite.NoHost {
			s.Warnf("%s: %s %s: %s is %q, which names no registry and is not listed", name, c.Kind, c.Name, c.Env, c.Result.Source)
		}
	}
	if note := found.NoteOthers(); note != "" {
		s.Warnf("%s: %s", name, note)
	}
}

func (s Sources) addCharts(ctx context.Context, list *catalog.List) (empty []error, err error) {
	for _, c := range s.Charts {
		o := s.ChartOptions
		name, version := chart.ParseName(c)
		o.Chart, o.Version, o.Stdin = name, cmp.Or(version, o.Version), s.Stdin
		rendered, err := chart.Render(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("--chart %s: %w", c, err)
		}
		images, err := s.addChart(list, rendered)
		switch {
		case err != nil:
			return nil, fmt.Errorf("--chart %s: %w", c, err)
		case images == 0: // more often than not its components are switched off
			empty = append(empty, fmt.Errorf("--chart %s: %s %s renders no image: %s", c, rendered.Name, rendered.Version, rendered.Remedy()))
		}
	}
	return empty, nil
}

// addChart adds the images of a chart, and returns their number.
func (s Sources) addChart(list *catalog.List, rendered chart.Rendered) (images int, err error) {
	for _, off := range rendered.Off {
		s.Warnf("chart %s %s: %s", rendered.Name, rendered.Version, off)
	}
	for _, w := range rendered.Warnings {
		s.Warnf("chart %s %s: %s", rendered.Name, rendered.Version, w)
	}
	var all manifest.Found
	for _, m := range rendered.Manifests {
		found, err := list.AddManifest(catalog.Chart, m.Name, m.Text)
		if err != nil {
			return 0, err
		}
		images += len(found.Changes)
		all.Changes, all.Others = append(all.Changes, found.Changes...), append(all.Others, found.Others...)
	}
	s.warnOthers("chart "+rendered.Name+" "+rendered.Version, all)
	return images, nil
}

func (s Sources) addCluster(ctx context.Context, list *catalog.List) (empty []error, err error) {
	if !s.Cluster {
		return nil, nil
	}
	client, err := s.Kubeconfig.Client()
	if err != nil {
		return nil, err
	}
	if _, err := live.Read(ctx, client, list); err != nil {
		return nil, fmt.Errorf("--cluster: %w", s.Kubeconfig.Explain(err))
	}
	if !slices.ContainsFunc(list.Images(), isInCluster) {
		empty = append(empty, fmt.Errorf("--cluster: no workload, Helm release or pod in %s names an image: check the namespaces of the configuration, and --context: this is %s",
			describe(list.Rules()), s.Kubeconfig.Target()))
	}
	return empty, nil
}

// describe names the namespaces of the configuration.
func describe(rules *rewrite.Rules) string {
	names := strings.Join(rules.Namespaces(), ", ")
	if s := rules.Config().NamespaceSelector; !s.IsEmpty() {
		names += " and the namespaces with " + s.String()
	}
	return names
}

// isInCluster reports whether the cluster names an image.
func isInCluster(e catalog.Entry) bool {
	return slices.ContainsFunc(e.Origins, func(o catalog.Origin) bool {
		return o.From == catalog.Workload || o.From == catalog.Release || o.From == catalog.Pod
	})
}
