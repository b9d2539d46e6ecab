// SPDX-License-Identifier: Apache-2.0

// Package track finds the images of the newest versions of charts, before CAST AI
// installs them.
package track

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Tracker reads a repository of charts. Rules are required.
type Tracker struct {
	Rules *rewrite.Rules
	// Charts are those to read if the configuration names none.
	Charts []string
	// Options render the charts. Their Chart, Repo, Version and values are not used.
	Options chart.Options
	Cache   chart.Cache
	// Since has the newest version of each chart that an earlier run has mirrored. Versions
	// that have appeared since are read as well, up to maxSince of each chart: a release
	// that several others follow before the next run would be missed otherwise.
	Since map[string]string
	// Warnf reports what is no error.
	Warnf func(format string, args ...any)
}

// maxSince bounds how many versions of a chart are read after a long pause.
const maxSince = 50

// Added is what a Tracker has added.
type Added struct {
	// Newest is Since for the next run, if the images of this one are mirrored.
	Newest map[string]string
	// Versions are those that were read, and those that failed.
	Versions []chart.Version
	// Failures are about versions that cannot be fetched or rendered, or render
	// incompletely.
	Failures []error
}

// Add adds the images of the newest versions to the list. It goes on after a version that
// fails. It returns an error, and adds nothing, if the index cannot be read or lacks a
// chart that the configuration names.
func (t Tracker) Add(ctx context.Context, list *catalog.List) (added Added, err error) {
	versions, err := t.Versions(ctx)
	if err != nil {
		return Added{}, err
	}
	added.Versions = versions
	added.Newest = map[string]string{}
	images := 0
	unread := map[string]bool{}
	for _, v := range versions {
		found, err := t.addVersion(ctx, list, v, t.parts(v.Chart), "")
		if ctx.Err() != nil {
			return Added{}, ctx.Err()
		}
		if err != nil {
			added.Failures = append(added.Failures, err)
			_, isUnread := errors.AsType[unreadError](err)
			unread[v.Chart] = unread[v.Chart] || isUnread
		}
		if added.Newest[v.Chart] == "" { // the newest version of a chart is its first
			added.Newest[v.Chart] = v.Version
		}
		images += found
	}
	if images == 0 {
		return Added{}, errors.Join(append(added.Failures, fmt.Errorf("track: no image in %d versions of charts", len(versions)))...)
	}
	for name := range unread { // the next run tries again
		if delete(added.Newest, name); t.Since[name] != "" {
			added.Newest[name] = t.Since[name]
		}
	}
	return added, nil
}

// unreadError is about a version that another run may be able to read.
type unreadError struct{ error }

func (e unreadError) Unwrap() error { return e.error }

// addVersion adds the images of a version for a release, or "", and returns their number,
// also next to an error.
func (t Tracker) addVersion(ctx context.Context, list *catalog.List, v chart.Version, parts chart.Parts, release string) (images int, err error) {
	found, err := t.images(ctx, v, parts)
	t.warnOfOthers(v, found)
	for _, m := range found.Manifests {
		list.AddFound(catalog.Chart, release+v.Chart+"@"+v.Version+" "+m.Name, m.Found)
		images += len(m.Found.Changes)
	}
	if err != nil {
		return images, fmt.Errorf("track: chart %s %s: %w", v.Chart, v.Version, err)
	}
	return images, nil
}

// warnOfOthers reports what is not listed but may be a public image, such as an argument
// of an operator.
func (t Tracker) warnOfOthers(v chart.Version, f found) {
	var all manifest.Found
	for _, m := range f.Manifests {
		all.Others = append(all.Others, m.Found.Others...)
	}
	if note := all.NoteOthers(); note != "" {
		t.Warnf("chart %s %s: %s", v.Chart, v.Version, note)
	}
}

// Versions returns the newest versions of all charts.
func (t Tracker) Versions(ctx context.Context) (all []chart.Version, err error) {
	if all, err = t.versions(ctx); err != nil {
		return nil, fmt.Errorf("track: %w", err)
	}
	return all, nil
}

func (t Tracker) versions(ctx context.Context) (all []chart.Version, err error) {
	repository, index, err := t.index(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range t.names(index) {
		versions, err := index.NewestSince(name, t.count(), t.Since[name], t.Rules.Config().Track.Prereleases)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", repository, err)
		}
		if len(versions) > maxSince {
			t.Warnf("chart %s: %d versions have appeared since %s, of which the newest %d are mirrored", name, len(versions), t.Since[name], maxSince)
			versions = versions[:maxSince]
		}
		all = append(all, versions...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("repository %s has none of the charts %s: name yours in track.charts", repository, strings.Join(t.Charts, ", "))
	}
	return all, nil
}

// index reads the index of the repository.
func (t Tracker) index(ctx context.Context) (repository string, index chart.Index, err error) {
	repository = cmp.Or(t.Rules.Config().Track.Repository, chart.DefaultRepo)
	if index, err = chart.ReadIndex(ctx, repository, t.Cache, t.Options.Command); err != nil {
		return "", chart.Index{}, err
	}
	for _, w := range index.Warnings {
		t.Warnf("repository %s: %s", repository, w)
	}
	return repository, index, nil
}

// newest returns as many versions of a chart as the configuration says.
func (t Tracker) newest(index chart.Index, name string) ([]chart.Version, error) {
	return index.Newest(name, t.count(), t.Rules.Config().Track.Prereleases)
}

func (t Tracker) count() int { return cmp.Or(t.Rules.Config().Track.Newest, rewrite.DefaultNewest) }

// names returns the charts that the configuration names, or else those of the sets that
// the repository has: a set has components that are no charts of their own.
func (t Tracker) names(index chart.Index) (names []string) {
	if named := t.Rules.Config().Track.Charts; len(named) > 0 {
		return named
	}
	for _, name := range t.Charts {
		if len(index.Charts[name]) > 0 {
			names = append(names, name)
		} else {
			t.Warnf("the chart repository has no chart %s: it is not tracked", name)
		}
	}
	return names
}

// found is what a version of a chart has. It is kept in the cache, where it is known by all
// that it depends on.
type found struct {
	Manifests  []foundIn
	Incomplete string
	Refused    string // why it does not render at all
}

// foundIn is what a manifest of the chart has.
type foundIn struct {
	Name  string
	Found manifest.Found
}

// images returns what a version has, also next to an error.
func (t Tracker) images(ctx context.Context, v chart.Version, parts chart.Parts) (f found, err error) {
	archive, err := t.Cache.Fetch(ctx, v)
	if err != nil {
		return found{}, unreadError{err}
	}
	key := "images-" + chart.Key(archive.Digest, parts, t.Rules.Config(), t.Options.KubeVersion, t.Options.APIVersions, program()) + ".json"
	if !t.Cache.Read(key, &f) {
		f, err = t.render(ctx, archive, parts)
		switch {
		case chart.IsFinal(err):
			f = found{Refused: err.Error()}
		case err != nil:
			return found{}, unreadError{err}
		}
		t.Cache.Keep(key, f)
	}
	if f.Refused != "" {
		return f, errors.New(withRemedy(f.Refused, v.Chart))
	}
	if f.Incomplete != "" {
		return f, errors.New(withRemedy("images may be missing, because "+f.Incomplete, v.Chart))
	}
	return f, nil
}

// flagRemedy is the remedy for a chart that a flag names.
var flagRemedy = regexp.MustCompile(`: (change (the values|them)|give the value \S+|see \S+ there, and give the value) with --chart-set \S+ or --values FILE`)

// withRemedy replaces it by that for a tracked chart.
func withRemedy(message, chart string) string {
	return flagRemedy.ReplaceAllString(message, "") + ": give values in track.values." + chart
}

// parts returns what of a chart is rendered: by the values of the configuration, or by
// what is known of CAST AI's charts, or everything.
func (t Tracker) parts(name string) chart.Parts {
	if values := t.Rules.Config().Track.Values[name]; len(values) > 0 {
		return chart.Parts{Values: values}
	}
	switch name {
	case catalog.Umbrella: // its modes exclude each other, and this one has all components
		return chart.Parts{Values: map[string]any{"tags": map[string]any{"full": true}}}
	case "castai-kvisor": // a server for tests of the chart, which names no image
		return chart.Parts{Everything: true, Never: []string{"mockServer.enabled"}}
	}
	return chart.Parts{Everything: true}
}

func (t Tracker) render(ctx context.Context, archive chart.Archive, parts chart.Parts) (f found, err error) {
	rendered, err := chart.RenderArchive(ctx, archive, parts, t.Options)
	if err != nil {
		return found{}, err
	}
	f.Incomplete = rendered.Incomplete
	images := 0
	for _, m := range rendered.Manifests {
		parsed, err := manifest.Parse(m.Name, m.Text)
		if err != nil {
			return found{}, err
		}
		in := foundIn{m.Name, parsed.Find(t.Rules)}
		in.Found.Changes, err = withoutPlaceholders(in.Found.Changes)
		if err != nil && f.Incomplete == "" {
			f.Incomplete = err.Error()
		}
		images += len(in.Found.Changes)
		if len(in.Found.Changes)+len(in.Found.Others) > 0 {
			f.Manifests = append(f.Manifests, in)
		}
	}
	if images == 0 {
		return found{Refused: "it renders no image"}, nil
	}
	return f, nil
}

// withoutPlaceholders drops the images whose name depends on a value that is not given.
func withoutPlaceholders(all []manifest.Change) (kept []manifest.Change, err error) {
	for _, c := range all {
		if strings.Contains(c.Result.Source, chart.Placeholder) {
			err = fmt.Errorf("the image %s depends on a value that the chart requires", c.Result.Source)
			continue
		}
		kept = append(kept, c)
	}
	return kept, err
}

// program tells versions of this program apart.
func program() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.String()
}
