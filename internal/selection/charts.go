// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"cmp"
	"context"
	"fmt"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// chartJobs returns the versions of charts as artifacts to copy. One that cannot be is
// refused with the reason, and does not stop the others.
func (s Sources) chartJobs(ctx context.Context, rules *rewrite.Rules, versions []chart.Version) (jobs []mirror.Job) {
	why := "chart repository " + cmp.Or(rules.Config().Track.Repository, chart.DefaultRepo)
	for _, v := range versions {
		job := mirror.Job{Source: chartimage.Reference(v.Chart, v.Version), Why: []string{why}}
		job.Chart, job.Refused = s.lockChart(ctx, v)
		if target := rules.Chart(job.Source); target.Changed() {
			job.Target = target.Target
		} else if job.Refused == nil {
			job.Refused = fmt.Errorf("chart %s %s has no place in a registry: %s", v.Chart, v.Version, target.Reason.Text())
		}
		jobs = append(jobs, job)
	}
	return jobs
}

// lockChart returns what the lock file has of a version. An index may leave the digest
// out: then it is that of what is fetched.
func (s Sources) lockChart(ctx context.Context, v chart.Version) (*lock.Chart, error) {
	if u, err := url.Parse(v.URL); err != nil || u.User != nil {
		return nil, fmt.Errorf("chart %s %s: the index has a URL with a user name or a password, which does not belong in a lock file", v.Chart, v.Version)
	}
	if v.Digest == "" {
		archive, err := s.TrackCache.Fetch(ctx, v)
		if err != nil {
			return nil, err
		}
		v.Digest = archive.Digest
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, v.Digest)
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("chart %s %s: the index has the digest %q, which is no SHA-256: ask its publisher", v.Chart, v.Version, v.Digest)
	}
	return &lock.Chart{URL: v.URL, Digest: d}, nil
}

// refuseReplaced returns an error if the repository has another archive of a version than
// the lock file has.
func refuseReplaced(j mirror.Job, e lock.Entry) error {
	if j.Chart == nil || e.Chart == nil || j.Chart.Digest == e.Chart.Digest {
		return nil
	}
	return fmt.Errorf("%s: the chart repository has replaced the archive of this version: it was %s and is %s: ask its publisher, and take the new one with --update --overwrite", j.Source, e.Chart.Digest, j.Chart.Digest)
}
