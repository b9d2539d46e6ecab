// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"context"
	"errors"
	"io/fs"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// LockFile is the lock file of a run.
type LockFile struct {
	Name string
	// Update resolves all tags again, and ignores the recorded digests.
	Update bool
}

// Read reads the lock file. It is an error if its registry is not that of the
// rules, and fs.ErrNotExist if there is none.
func (f LockFile) Read(rules *rewrite.Rules) (*lock.Lock, error) {
	l, err := lock.Read(f.Name)
	if err != nil {
		return nil, exitcode.AsUsage(err)
	}
	if l.Registry != rules.Registry() {
		return nil, exitcode.Usagef("%s is for the registry %s, not for %s: name another file with --lock", f.Name, l.Registry, rules.Registry())
	}
	return l, nil
}

// Jobs returns the images to copy: those of the sources or, without any, those of
// the lock file. Digests that the lock file records are part of the jobs. It also
// returns the lock file, nil if there is none.
func (s Sources) Jobs(ctx context.Context, rules *rewrite.Rules, file LockFile) ([]mirror.Job, *lock.Lock, error) {
	// Without a source, the flags of a chart would have no effect.
	if err := s.validateCharts(); err != nil {
		return nil, nil, err
	}
	known, err := file.Read(rules)
	if errors.Is(err, fs.ErrNotExist) {
		if s.IsEmpty() {
			return nil, nil, exitcode.Usagef("there is no lock file %s that lists images: name some, for instance with --set phase1,phase2", file.Name)
		}
	} else if err != nil {
		return nil, nil, err
	}
	var jobs []mirror.Job
	if s.IsEmpty() {
		for _, e := range known.Images {
			jobs = append(jobs, mirror.Job{Source: e.Source, Target: e.Target, Why: e.Why})
		}
	} else {
		images, err := s.Images(ctx, rules)
		if err != nil {
			return nil, nil, err
		}
		jobs = s.ToCopy(images)
	}
	if file.Update {
		return jobs, known, nil
	}
	for n, j := range jobs {
		if e, ok := known.Lookup(j.Source, j.Target); ok {
			jobs[n].Locked = &mirror.Locked{Digest: e.Digest, SourceDigest: e.SourceDigest}
		}
	}
	return jobs, known, nil
}

// ToCopy returns the images that have to be copied, and reports for each other
// public image why it is not.
func (s Sources) ToCopy(images []catalog.Entry) (jobs []mirror.Job) {
	for _, i := range images {
		if !i.Copy {
			if i.Outcome != rewrite.Private && i.Outcome != rewrite.Kept {
				s.Warnf("not copied: %s: %s", i.Source, reason(i))
			}
			continue
		}
		job := mirror.Job{Source: i.Source, Target: i.Target}
		for _, o := range i.Origins {
			job.Why = append(job.Why, o.String())
		}
		jobs = append(jobs, job)
	}
	return jobs
}

func reason(i catalog.Entry) string {
	if i.Note != "" {
		return i.Note
	}
	return string(i.Reason)
}
