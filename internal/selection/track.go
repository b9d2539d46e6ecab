// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"context"
	"errors"
	"fmt"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/catalog/track"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// ErrNothingWaits is the result if no pod waits for an image.
var ErrNothingWaits = errors.New("no pod waits for an image")

// addTracked adds the images of tracked charts, and of the charts of releases.
func (s Sources) addTracked(ctx context.Context, list *catalog.List) (added track.Added, err error) {
	t := track.Tracker{Rules: list.Rules(), Charts: catalog.Charts(s.Sets), Options: s.ChartOptions, Cache: s.TrackCache, Since: s.tracked, Warnf: s.Warnf}
	if s.Track {
		if added, err = t.Add(ctx, list); err != nil {
			return track.Added{}, err
		}
	}
	if !s.Ahead {
		return added, nil
	}
	releases, err := s.releases(ctx, list.Rules())
	if err != nil {
		return track.Added{}, fmt.Errorf("--ahead: %w", err)
	}
	versions, more, err := t.AddAhead(ctx, list, releases)
	if err != nil {
		return track.Added{}, err
	}
	added.Failures = append(added.Failures, more...)
	if versions == 0 {
		s.Warnf("each of the %d Helm releases in %s has the newest version of its chart", len(releases), describe(list.Rules()))
	}
	return added, nil
}

// releases returns the Helm releases in the cluster. None is an error.
func (s Sources) releases(ctx context.Context, rules *rewrite.Rules) (all []live.Release, err error) {
	client, err := s.Kubeconfig.Client()
	if err != nil {
		return nil, err
	}
	all, err = live.Releases(ctx, client, rules)
	if err != nil {
		return nil, s.Kubeconfig.Explain(err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no Helm release in %s: check --context and the namespaces of the configuration", describe(rules))
	}
	return all, nil
}

// addMissing adds the images that pods wait for.
func (s Sources) addMissing(ctx context.Context, list *catalog.List) (empty []error, err error) {
	if !s.Missing {
		return nil, nil
	}
	client, err := s.Kubeconfig.Client()
	if err != nil {
		return nil, err
	}
	pods, err := live.Waiting(ctx, client, list)
	if err != nil {
		return nil, fmt.Errorf("--missing: %w", s.Kubeconfig.Explain(err))
	}
	if pods == 0 {
		return nil, fmt.Errorf("%w in %s", ErrNothingWaits, describe(list.Rules()))
	}
	return nil, nil
}

// validateCluster refuses combinations of flags that read the cluster.
func (s Sources) validateCluster() error {
	others := s
	others.Missing = false
	switch {
	case s.Missing && !others.IsEmpty():
		return exitcode.Usagef("--missing selects what pods wait for, and nothing else: leave the other sources out")
	case s.Ahead && !s.Cluster:
		return exitcode.Usagef("--ahead reads the Helm releases of a cluster: add --cluster")
	}
	return nil
}
