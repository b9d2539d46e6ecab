// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
)

// Parts say what of a chart is rendered.
type Parts struct {
	// Values are those of the chart.
	Values map[string]any
	// Everything that the chart can switch on is on: subcharts by their conditions and
	// tags, and values named enabled.
	Everything bool
	// Never are switches that stay as they are, in the form of --set.
	Never []string
}

// RenderArchive renders parts of a chart that Cache.Fetch returned. Of the options, those
// that name a chart and its values are not used.
//
// A value that the chart requires and that is not given is a placeholder; so are the
// credentials that CAST AI's charts ask for. Where switches exclude each other, the chart
// is rendered several times, and Rendered.Incomplete tells it.
func RenderArchive(ctx context.Context, a Archive, parts Parts, o Options) (Rendered, error) {
	j := job{
		Source:      source{From: a.Chart + "-" + a.Version.Version + ".tgz", Archive: a.Data, Version: a.Version.Version},
		KubeVersion: o.KubeVersion, APIVersions: o.APIVersions, Release: o.Release, Namespace: o.Namespace, Limits: defaultLimits(),
		Parts: &parts,
	}
	if len(o.Command) > 0 {
		return j.runIn(ctx, o.Command)
	}
	r, err := j.run(ctx)
	if err != nil && ctx.Err() == nil {
		err = refusal(err.Error())
	}
	return r, err
}

// Placeholder stands for a value that a chart requires and that is not given.
const Placeholder = "privatelink-placeholder"

// renderParts renders the chart with its values, or with all switches on. If that fails,
// it renders without any switch and with halves of them, down to single ones, and returns
// what all renderings have.
func (j job) renderParts(ctx context.Context) (Rendered, error) {
	c, err := j.Source.load()
	if err != nil {
		return Rendered{}, err
	}
	j.APIVersions = append(slices.Clone(j.APIVersions), requestedAPIs(c)...)
	var switches []string
	if j.Parts.Everything {
		switches = slices.DeleteFunc(switchesOf(c), func(s string) bool { return slices.Contains(j.Parts.Never, s) })
	}
	// A chart hands its credentials to its subcharts, refuses them in both, or leaves
	// them to these.
	ofChart, ofAll := standIns(c, false), standIns(c, true)
	var atOnce error
	tries := [][]string{ofChart, ofAll, nil}
	if !j.Parts.Everything { // they may have these already
		tries = [][]string{nil, ofChart, ofAll}
	}
	for _, set := range tries {
		r, err := j.renderWith(ctx, set, switches)
		if err == nil {
			return r, nil
		}
		if atOnce == nil {
			atOnce = err
		}
	}
	if len(switches) == 0 {
		return Rendered{}, atOnce
	}
	u := union{found: map[string]bool{}, standIns: ofChart}
	if u.render(ctx, j, nil) != nil { // the defaults may lack what a switch brings
		u.standIns = ofAll
		_ = u.render(ctx, j, nil)
	}
	u.halves(ctx, j, switches)
	switch {
	case u.renderings == 0:
		return Rendered{}, atOnce
	case len(u.failed) > 0:
		u.Incomplete = "it does not render with " + strings.Join(u.failed, "; ")
	default:
		u.Incomplete = fmt.Sprintf("not everything can be on at once, and was on in parts: %v", atOnce)
	}
	return u.Rendered, nil
}

// union collects what several renderings have.
type union struct {
	Rendered
	found      map[string]bool
	standIns   []string
	renderings int
	failed     []string // switches that do not render alone, and why
}

func (u *union) render(ctx context.Context, j job, switches []string) error {
	r, err := j.renderWith(ctx, u.standIns, switches)
	if err != nil {
		return err
	}
	u.renderings++
	u.Name, u.Version, u.Warnings = r.Name, r.Version, r.Warnings
	for _, m := range r.Manifests {
		if key := m.Name + "\n" + string(m.Text); !u.found[key] {
			u.found[key] = true
			u.Manifests = append(u.Manifests, m)
		}
	}
	return nil
}

// halves renders both halves of switches that cannot be on at once.
func (u *union) halves(ctx context.Context, j job, switches []string) {
	middle := len(switches) / 2
	for _, half := range [][]string{switches[:middle], switches[middle:]} {
		if len(half) == 0 {
			continue
		}
		err := u.render(ctx, j, half)
		switch {
		case err == nil:
		case len(half) == 1:
			u.failed = append(u.failed, fmt.Sprintf("%s=true: %v", half[0], err))
		default:
			u.halves(ctx, j, half)
		}
	}
}

// renderWith renders the chart, loaded again, because Helm changes it, with stand-ins and
// with switches on.
func (j job) renderWith(ctx context.Context, standIns, switches []string) (Rendered, error) {
	c, err := j.Source.load()
	if err != nil {
		return Rendered{}, err
	}
	given := map[string]any{}
	for _, s := range standIns {
		if err := strvals.ParseIntoString(s, given); err != nil {
			return Rendered{}, err
		}
	}
	for _, s := range switches {
		if err := strvals.ParseInto(s+"=true", given); err != nil {
			return Rendered{}, err
		}
	}
	return j.render(ctx, c, loader.MergeMaps(given, j.Parts.Values))
}

// credentials are the values that CAST AI's charts refuse to be without, and what stands
// for them.
func credentials() map[string]string {
	return map[string]string{"apiKey": Placeholder, "clusterID": "00000000-0000-0000-0000-000000000000", "clusterId": "00000000-0000-0000-0000-000000000000", "provider": "eks"}
}

// standIns returns the credentials that the chart, or it and its subcharts, have and leave
// empty, as --set writes them.
func standIns(c *v2.Chart, ofSubcharts bool) (set []string) {
	var add func(c *v2.Chart, path []string)
	add = func(c *v2.Chart, path []string) {
		addStandIns(&set, c.Values, path)
		for _, sub := range c.Dependencies() {
			if ofSubcharts {
				add(sub, append(slices.Clone(path), escapeKey(valuesKey(c, sub))))
			}
		}
	}
	add(c, nil)
	slices.Sort(set)
	return set
}

func addStandIns(set *[]string, values map[string]any, path []string) {
	for name, value := range values {
		at := append(slices.Clone(path), escapeKey(name))
		if of, ok := value.(map[string]any); ok {
			addStandIns(set, of, at)
		} else if text, ok := credentials()[name]; ok && (value == nil || value == "") {
			*set = append(*set, strings.Join(at, ".")+"="+text)
		}
	}
}

// valuesKey returns the name that a chart in the folder charts has in the values.
func valuesKey(c, sub *v2.Chart) string {
	for _, d := range c.Metadata.Dependencies {
		if d != nil && d.Name == sub.Name() {
			return nameOf(*d)
		}
	}
	return sub.Name()
}

// switchesOf returns what switches parts of the chart on, as keys of --set: conditions
// and tags of its dependencies at all levels, and values that are named enabled and false.
func switchesOf(c *v2.Chart) []string {
	all := map[string]bool{}
	addSwitches(all, c, nil)
	return slices.Sorted(maps.Keys(all))
}

func addSwitches(all map[string]bool, c *v2.Chart, path []string) {
	key := func(parts ...string) string { return strings.Join(append(slices.Clone(path), parts...), ".") }
	for _, d := range c.Metadata.Dependencies {
		if d == nil {
			continue
		}
		for condition := range strings.SplitSeq(d.Condition, ",") {
			if condition = strings.TrimSpace(condition); condition != "" {
				all[key(condition)] = true
			}
		}
		for _, tag := range d.Tags {
			all["tags."+escapeKey(tag)] = true
		}
		for _, sub := range c.Dependencies() {
			if sub.Name() == d.Name {
				addSwitches(all, sub, append(slices.Clone(path), escapeKey(nameOf(*d))))
			}
		}
	}
	addEnabled(all, c.Values, path)
}

// addEnabled adds the values that are named enabled and false.
func addEnabled(all map[string]bool, values map[string]any, path []string) {
	for name, value := range values {
		at := append(slices.Clone(path), escapeKey(name))
		switch of := value.(type) {
		case map[string]any:
			addEnabled(all, of, at)
		case bool:
			if !of && strings.HasSuffix(strings.ToLower(name), "enabled") {
				all[strings.Join(at, ".")] = true
			}
		}
	}
}

// escapeKey writes a key as --set reads it.
func escapeKey(key string) string {
	return strings.NewReplacer(`\`, `\\`, ".", `\.`, ",", `\,`, "=", `\=`, "[", `\[`, "]", `\]`).Replace(key)
}

// asksFor is how a template asks for an API of the cluster.
var asksFor = regexp.MustCompile(`\.APIVersions\.Has\s+\(?"([^"]+)"`)

// requestedAPIs returns the APIs that the templates ask for, so that what depends on a
// custom resource is rendered.
func requestedAPIs(c *v2.Chart) (apis []string) {
	for _, f := range c.Templates {
		for _, m := range asksFor.FindAllSubmatch(f.Data, -1) {
			apis = append(apis, string(m[1]))
		}
	}
	for _, sub := range c.Dependencies() {
		apis = append(apis, requestedAPIs(sub)...)
	}
	slices.Sort(apis)
	return slices.Compact(apis)
}
