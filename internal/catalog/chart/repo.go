// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v4/pkg/registry"
	"helm.sh/helm/v4/pkg/repo/v1"
)

// fromRepo fetches a chart that the index of a repository lists. command is Options.Command.
func fromRepo(ctx context.Context, from, name, version string, command []string) (source, error) {
	index, err := ReadIndex(ctx, from, Cache{}, command)
	if err != nil {
		return source{}, err
	}
	chosen, err := index.choose(name, version)
	if err != nil {
		return source{}, fmt.Errorf("repository %s: %w", redacted(from), err)
	}
	if registry.IsOCI(chosen.URL) {
		return fromRegistry(ctx, chosen.URL, chosen.Version) // which verifies digests
	}
	fetched, err := Cache{}.Fetch(ctx, chosen)
	if err != nil {
		return source{}, err
	}
	s := source{From: redacted(chosen.URL), Archive: fetched.Data}
	if rejected := index.Rejected[name]; rejected != "" {
		s.Warnings = []string{"repository " + redacted(from) + ": " + rejected}
	}
	return s, nil
}

// resolve returns the address of an archive, which the index has relative to the
// repository or in full. The user and password of the repository are used for
// addresses of the same origin only.
func resolve(from, address string) (string, error) {
	resolved, err := repo.ResolveReferenceURL(from, address)
	if err != nil {
		return "", err
	}
	base, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(resolved)
	if err != nil {
		return "", err
	}
	if u.User == nil && isSameOrigin(u, base) {
		u.User = base.User
	}
	return u.String(), nil
}

// choose returns the newest version that fits: a version, a range, or "" for the newest
// that is no pre-release. A version that is written as the index has it wins over what it
// means as a range, as in Helm.
func (i Index) choose(name, version string) (Version, error) {
	all, ok := i.Charts[name]
	switch {
	case !ok && len(i.Rejected[name]) > 0:
		return Version{}, fmt.Errorf("chart %q has no version that can be used: %s", name, i.Rejected[name])
	case !ok:
		return Version{}, i.noChart(name)
	}
	for _, v := range all {
		if version != "" && v.Version == version {
			return v, nil
		}
	}
	if parsed, err := semver.NewVersion(version); err == nil && parsed.Metadata() != "" { // a range would take any build
		return Version{}, fmt.Errorf("chart %q has no version %s; the newest is %s", name, version, all[0].Version)
	}
	fits, err := semver.NewConstraint(cmp.Or(version, "*"))
	if err != nil {
		return Version{}, fmt.Errorf("chart %q: version %q is neither in the index nor a range: %w", name, version, err)
	}
	for _, v := range all {
		if parsed, err := semver.NewVersion(v.Version); err == nil && fits.Check(parsed) {
			return v, nil
		}
	}
	if version == "" {
		return Version{}, fmt.Errorf("chart %q has only pre-releases: name a version", name)
	}
	return Version{}, fmt.Errorf("chart %q has no version %s; the newest is %s", name, version, all[0].Version)
}

// verify compares an archive with the index. Helm does not: a damaged copy would
// appear, if at all, as a missing image.
func verify(archive []byte, digest string) error {
	want := strings.TrimPrefix(strings.TrimSpace(digest), "sha256:")
	if want == "" {
		return nil
	}
	if got := hexSum(archive); !strings.EqualFold(got, want) {
		return fmt.Errorf("its SHA-256 is %s and the repository's index says %s: it is damaged, or was replaced after it was published", got, want)
	}
	return nil
}
