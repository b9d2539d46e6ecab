// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/webhookimage"
)

// LockFile is the lock file of a run.
type LockFile struct {
	// Name is what lockstore.Open takes.
	Name string
	// Store is where the lock is kept. nil stands for the file of that name.
	Store lockstore.Store
	// Update resolves all tags again, and ignores the recorded digests.
	Update bool
}

// Open returns where the lock is kept.
func (f LockFile) Open() lockstore.Store {
	if f.Store != nil {
		return f.Store
	}
	return lockstore.File(f.Name)
}

// Read reads the lock file. It is an error if its registry is not that of the
// rules, and fs.ErrNotExist if there is none.
func (f LockFile) Read(ctx context.Context, rules *rewrite.Rules) (*lock.Lock, error) {
	l, err := f.Open().Read(ctx)
	if err != nil {
		return nil, exitcode.AsUsage(err)
	}
	if l.Registry != rules.Registry() {
		return nil, exitcode.Usagef("%s is for the registry %s, not for %s: name another file with --lock", f.Name, l.Registry, rules.Registry())
	}
	return l, nil
}

// Selected are the images of a run.
type Selected struct {
	Jobs []mirror.Job
	// Lock is the lock file, nil if there is none.
	Lock *lock.Lock
	// Failures name what may lack images, such as a version of a tracked chart that does
	// not render.
	Failures []error
	// Tracked is lock.Lock.Tracked once all of Jobs are copied.
	Tracked map[string]string
}

// Jobs returns the images to copy: those of the sources or, without any, those of
// the lock file. Digests that the lock file records are part of the selection. It is an
// error if there is no image to copy.
func (s Sources) Jobs(ctx context.Context, rules *rewrite.Rules, file LockFile) (Selected, error) {
	// Without a source, the flags of a chart would have no effect.
	if err := s.validateCharts(); err != nil {
		return Selected{}, err
	}
	known, err := file.Read(ctx, rules)
	if errors.Is(err, fs.ErrNotExist) {
		if s.IsEmpty() {
			return Selected{}, exitcode.Usagef("there is no lock file %s that lists images: name some, for instance with --set umbrella", file.Name)
		}
	} else if err != nil {
		return Selected{}, err
	}
	selected := Selected{Lock: known}
	if s.IsEmpty() {
		if selected.Jobs, err = s.replaceWebhook(lockedJobs(known, rules), rules, file); err != nil {
			return Selected{}, err
		}
	} else {
		if known != nil {
			s.tracked = known.Tracked
		}
		images, added, err := s.images(ctx, rules)
		if err != nil {
			return Selected{}, err
		}
		selected.Failures, selected.Tracked = added.Failures, added.Newest
		selected.Jobs = s.ToCopy(images)
		if s.TrackedCharts {
			selected.Jobs = append(selected.Jobs, s.chartJobs(ctx, rules, added.Versions)...)
		}
		if len(selected.Jobs) == 0 {
			return Selected{}, exitcode.Usagef("none of the images has to be copied: each is private, or its tag is not known")
		}
	}
	if file.Update {
		return selected, nil
	}
	for n := range selected.Jobs {
		lockJob(&selected.Jobs[n], known, rules)
	}
	return selected, nil
}

// lockJob sets the digests that a lock, nil for none, has for an image.
func lockJob(j *mirror.Job, known *lock.Lock, rules *rewrite.Rules) {
	e, ok := known.Lookup(j.Source, j.Target)
	if !ok || j.Refused != nil {
		return
	}
	// Two sources with one target are names of the same image, but those of the webhook's
	// target are different images. One that is named is copied; by default the lock decides.
	if e.Source != j.Source && isWebhook(j.Target, rules.Registry()) {
		if !webhookimage.IsCarried(j.Source) {
			return
		}
		j.Source = e.Source
	}
	j.Locked = &mirror.Locked{Digest: e.Digest, SourceDigest: e.SourceDigest, Referrers: e.Referrers}
	j.Refused = refuseReplaced(*j, e)
}

// lockedJobs returns the images of a lock file, including those that were not copied.
func lockedJobs(l *lock.Lock, rules *rewrite.Rules) (jobs []mirror.Job) {
	for _, e := range l.Images {
		job := mirror.Job{Source: e.Source, Target: e.Target, Chart: e.Chart, Why: e.Why}
		if r := Target(l, rules, e.Source, e.Target); r.Target != e.Target {
			job.Refused = fmt.Errorf("the lock file has it at %s, and the configuration maps it to %s: select the images again, for instance with --set, to update the lock file", e.Target, r.Target)
		}
		jobs = append(jobs, job)
	}
	for _, n := range l.NotCopied {
		job := mirror.Job{Source: n.Source, Chart: n.Chart, Why: n.Why}
		if r := Target(l, rules, n.Source, n.Target); r.Changed() {
			job.Target = r.Target
		} else {
			job.Refused = errors.New(r.Rule)
		}
		jobs = append(jobs, job)
	}
	return jobs
}

// ToCopy returns the images that have to be copied. Images without a name in the
// private registry are refused. The reason why another public image is not copied is
// reported.
func (s Sources) ToCopy(images []catalog.Entry) (jobs []mirror.Job) {
	for _, i := range images {
		job := mirror.Job{Source: i.Source, Target: i.Target}
		for _, o := range i.Origins {
			job.Why = append(job.Why, o.String())
		}
		switch {
		case i.Copy:
			jobs = append(jobs, job)
		case s.Missing && i.Outcome == rewrite.Private:
			job.Refused = errors.New("a pod waits for it, and its public name is not known: name what it is from, such as --chart NAME@VERSION or -f FILE")
			jobs = append(jobs, job)
		case i.Unmapped():
			job.Target, job.Refused = "", errors.New(i.Rule)
			jobs = append(jobs, job)
		case i.Outcome == rewrite.Rewritten:
			s.Warnf("not copied: %s: %s", i.Source, i.Note)
		}
	}
	return jobs
}
