// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"
)

// A Version is a version of a chart that a repository offers.
type Version struct {
	Chart, Version string
	// Digest is the SHA-256 of the archive in hexadecimal digits, "" if the index has none.
	Digest string
	// URL is that of the archive.
	URL string
	// Created is as the index has it, and tells versions without a digest apart.
	Created string
}

// An Index is what a repository offers.
type Index struct {
	// Charts has the versions by chart, in the order of semantic versions, newest first.
	Charts map[string][]Version
	// Warnings are about entries that do not count.
	Warnings []string
	// Rejected says of the first invalid entry of a chart why it does not count.
	Rejected map[string]string `json:",omitempty"`
}

// Newest returns the newest n versions of a chart, without pre-releases unless asked for.
// The order is that of semantic versions (https://semver.org, section 11), not that of the
// file or of time. It fails if the index does not have the chart.
func (i Index) Newest(chart string, n int, prereleases bool) ([]Version, error) {
	all, ok := i.Charts[chart]
	if !ok {
		return nil, i.noChart(chart)
	}
	var newest []Version
	for _, v := range all {
		if parsed, err := semver.NewVersion(v.Version); err == nil && (prereleases || parsed.Prerelease() == "") {
			newest = append(newest, v)
		}
	}
	if len(newest) == 0 {
		return nil, fmt.Errorf("chart %q has only pre-releases: set track.prereleases", chart)
	}
	return newest[:min(n, len(newest))], nil
}

// NewestSince is Newest, but returns all versions that are newer than another one as well.
// An other version of "" is none.
func (i Index) NewestSince(chart string, n int, other string, prereleases bool) ([]Version, error) {
	all, err := i.Newest(chart, len(i.Charts[chart]), prereleases)
	if err != nil {
		return nil, err
	}
	count := min(n, len(all))
	if known, err := semver.NewVersion(other); err == nil {
		for count < len(all) && semver.MustParse(all[count].Version).GreaterThan(known) {
			count++
		}
	}
	return all[:count], nil
}

func (i Index) noChart(name string) error {
	return fmt.Errorf("it has no chart %q, only %s", name, list(slices.Sorted(maps.Keys(i.Charts))))
}

// list names a few, for an error.
func list(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d others", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// ReadIndex reads the index of a repository. With a cache, one that has not changed costs
// one request and is not parsed again. command is Options.Command.
//
// It fails if the index lists no chart.
func ReadIndex(ctx context.Context, repository string, cache Cache, command []string) (Index, error) {
	i, err := readIndex(ctx, repository, cache, command)
	if err != nil {
		return Index{}, fmt.Errorf("repository %s: %w", redacted(repository), err)
	}
	return i, nil
}

func readIndex(ctx context.Context, repository string, cache Cache, command []string) (Index, error) {
	address, err := resolve(repository, "index.yaml")
	if err != nil {
		return Index{}, err
	}
	known := cache.index(address)
	got, err := getChanged(ctx, address, maxIndex, known.Validators)
	switch s, isStatus := errors.AsType[status](err); {
	case isStatus && int(s) == http.StatusNotFound:
		return Index{}, errors.New("there is no index.yaml: is it a repository of Helm charts?")
	case isStatus && (int(s) == http.StatusUnauthorized || int(s) == http.StatusForbidden):
		return Index{}, fmt.Errorf("%w: give a user and a password that may read it, as https://USER:PASSWORD@HOST/PATH", err)
	case err != nil:
		return Index{}, err
	case got.unchanged:
		return known.Index, nil
	}
	now := cachedIndex{Address: address, Validators: got.validators, SHA256: hexSum(got.body), Index: known.Index}
	if now.SHA256 != known.SHA256 { // a server without validators sends what is known
		if now.Index, err = parseIndex(ctx, indexJob{Repository: repository, Text: got.body, Limits: defaultLimits()}, command); err != nil {
			return Index{}, err
		}
	}
	cache.keepIndex(now)
	return now.Index, nil
}

func parseIndex(ctx context.Context, j indexJob, command []string) (Index, error) {
	if len(command) > 0 {
		return j.runIn(ctx, command)
	}
	return j.run()
}

// An indexJob is an index to parse. A parser of YAML takes 14 times the size of its text in
// memory, so that this is done in a process with a limit, too.
type indexJob struct {
	Repository string // URL
	Text       []byte
	Limits     limits
}

func (j indexJob) runIn(ctx context.Context, command []string) (Index, error) {
	r, err := runIn(ctx, "index.yaml", request{Index: &j}, command)
	return r.Index, err
}

// entry is what is read of an entry of index.yaml.
type entry struct {
	Version, Digest, Created string
	URLs                     []string
}

func (j indexJob) run() (Index, error) {
	var parsed struct{ Entries map[string][]*entry }
	decode := func(text []byte, into any) error { return yaml.Unmarshal(text, into) }
	if json.Valid(j.Text) { // as Helm: it takes a tenth of the time
		decode = json.Unmarshal
	}
	if err := decode(j.Text, &parsed); err != nil {
		return Index{}, fmt.Errorf("index.yaml: %w", err)
	}
	i := Index{Charts: map[string][]Version{}, Rejected: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(parsed.Entries)) {
		if versions := i.versions(j.Repository, name, parsed.Entries[name]); len(versions) > 0 {
			i.Charts[name] = versions
		}
	}
	if len(i.Charts) == 0 {
		return Index{}, errors.New("index.yaml lists no chart: it is empty, or of something else")
	}
	return i, nil
}

// versions returns the valid entries of a chart, newest first. An entry that is invalid
// costs a warning, and so does a version that is listed with two digests: the first
// counts, as in Helm.
func (i *Index) versions(repository, chart string, entries []*entry) []Version {
	type candidate struct {
		Version
		order *semver.Version
	}
	var all []candidate
	first := map[string]string{} // digest by version
	for _, e := range entries {
		if e == nil {
			continue
		}
		v := Version{Chart: chart, Version: e.Version, Digest: strings.ToLower(strings.TrimPrefix(strings.TrimSpace(e.Digest), "sha256:")), Created: e.Created}
		order, err := semver.NewVersion(e.Version)
		if err == nil && len(e.URLs) == 0 {
			err = errors.New("it has no URL")
		}
		if err == nil {
			v.URL, err = resolve(repository, e.URLs[0])
		}
		if err != nil {
			i.warnf("chart %s %q does not count: %v", chart, e.Version, err)
			if i.Rejected[chart] == "" {
				i.Rejected[chart] = fmt.Sprintf("version %q does not count: %v", e.Version, err)
			}
			continue
		}
		if digest, twice := first[v.Version]; twice {
			if digest != v.Digest {
				i.warnf("chart %s %s is listed twice, with the digests %s and %s: the first counts", chart, v.Version, digest, v.Digest)
			}
			continue
		}
		first[v.Version] = v.Digest
		all = append(all, candidate{v, order})
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		// Versions that differ in their build alone have the same precedence.
		return cmp.Or(b.order.Compare(a.order), strings.Compare(b.Version.Version, a.Version.Version))
	})
	versions := make([]Version, len(all))
	for n, c := range all {
		versions[n] = c.Version
	}
	return versions
}

// maxWarnings bounds what a hostile index can print.
const maxWarnings = 20

func (i *Index) warnf(format string, args ...any) {
	if len(i.Warnings) < maxWarnings {
		i.Warnings = append(i.Warnings, fmt.Sprintf(format, args...))
	}
}
