// SPDX-License-Identifier: Apache-2.0

package track

import (
	"context"
	"fmt"

	"github.com/Masterminds/semver/v3"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
)

// AddAhead adds the images of the versions that may follow those of the releases, with the
// values of these. It returns the number of versions. Failures are as those of Add.
func (t Tracker) AddAhead(ctx context.Context, list *catalog.List, releases []live.Release) (versions int, failures []error, err error) {
	repository, index, err := t.index(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("track: %w", err)
	}
	for _, r := range releases {
		name := r.Namespace + "/" + r.Name
		if len(index.Charts[r.Chart]) == 0 {
			t.Warnf("release %s: the repository %s has no chart %s: its next versions are not known", name, repository, r.Chart)
			continue
		}
		next, err := t.following(index, r)
		if err != nil {
			failures = append(failures, fmt.Errorf("track: release %s: %w", name, err))
			continue
		}
		for _, v := range next {
			versions++
			if _, err := t.addVersion(ctx, list, v, chart.Parts{Values: r.Values}, "release "+name+", "); err != nil {
				failures = append(failures, err)
			}
			if ctx.Err() != nil {
				return 0, nil, ctx.Err()
			}
		}
	}
	return versions, failures, nil
}

// following returns the newest versions that are newer than the release's.
func (t Tracker) following(index chart.Index, r live.Release) (next []chart.Version, err error) {
	installed, err := semver.NewVersion(r.Version)
	if err != nil {
		return nil, fmt.Errorf("its chart %s has version %q: %w", r.Chart, r.Version, err)
	}
	newest, err := t.newest(index, r.Chart)
	if err != nil {
		return nil, err
	}
	for _, v := range newest {
		if parsed, err := semver.NewVersion(v.Version); err == nil && parsed.GreaterThan(installed) {
			next = append(next, v)
		}
	}
	return next, nil
}
