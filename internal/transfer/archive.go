// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
)

// ExportOptions are those of Export.
type ExportOptions struct {
	Options
	Sources selection.Sources
	Lock    selection.LockFile
	// File is the archive. With Split, a size such as 4G, it consists of several files.
	File, Split string
	// Since is the lock file of what the private registry has already, "" for none.
	Since string
}

// Export writes the selected images to an archive, and the lock file.
func Export(ctx context.Context, o ExportOptions) error {
	if err := o.checkFile(); err != nil {
		return err
	}
	split, err := parseSize(o.Split)
	if err != nil {
		return exitcode.Usagef("--split %q: %w", o.Split, err)
	}
	var since *lock.Lock
	if o.Since != "" {
		// It may be the lock file that this run replaces.
		if since, err = lock.Read(o.Since); err != nil {
			return exitcode.Usagef("--since: %w", err)
		}
	}
	selected, err := o.Sources.Jobs(ctx, o.Rules, o.Lock)
	if err != nil {
		return err
	}
	jobs, notCarried, err := o.splitNotCarried(selected.Jobs)
	if err != nil {
		return err
	}
	if err := checkLock(ctx, o.Lock.Open()); err != nil {
		return err
	}
	m, client, err := o.mirror(ctx)
	if err != nil {
		return err
	}
	m.Source = chartimage.NewSource(m.Source, jobs, o.Sources.TrackCache)
	client.ExpectPulls(sources(jobs))
	stopPlanning := o.startPlanning(ctx, m)
	content, err := m.ReadContent(ctx, jobs, o.Rules.Registry(), selected.Lock)
	stopPlanning()
	if err != nil {
		return err
	}
	o.reportFailed(content.Failed)
	var p mirror.Progress
	stop := o.Reporter.Start(ctx, &p, client.Waits)
	summary, err := archive.Write(ctx, content, m.Source, archive.WriteOptions{File: o.File, Split: split, Since: since, Parallel: o.Parallel, Progress: &p})
	stop()
	if err != nil {
		return err
	}
	// The archive does not have the images that failed. In the lock file, they keep
	// their old entries.
	written := content.Lock
	kept := m.BuildLock(o.Rules.Registry(), &mirror.Plan{Items: content.Failed}, selected.Lock)
	written.Images, written.NotCopied = append(written.Images, kept.Images...), append(kept.NotCopied, notCarried...)
	addTracked(written, selected, (&mirror.Plan{Items: content.Failed}).IsDone())
	if err := o.writeLock(ctx, o.Lock.Open(), written, selected.Lock); err != nil {
		return err
	}
	return o.WithFailures(o.Reporter.Exported(summary, content.Failed), selected.Failures)
}

// reportFailed reports images that could not be read.
func (o Options) reportFailed(items []*mirror.Item) {
	for _, i := range items {
		o.Reporter.Event(mirror.Event{Kind: mirror.EventFailed, Source: i.Source, Target: i.Target, Message: i.Err.Error()})
	}
}

// checkFile returns a usage error if the archive cannot be created.
func (o ExportOptions) checkFile() error {
	switch o.File {
	case "":
		return exitcode.Usagef("give the file to be written, with --to FILE")
	case "-":
		return exitcode.Usagef("--to -: an archive cannot be written to standard output, because its parts are not written in order: name a file")
	}
	if _, err := os.Stat(filepath.Dir(o.File)); err != nil {
		return exitcode.Usagef("--to: the folder of %s: %w: create it, or name another file", o.File, err)
	}
	return nil
}

// ImportOptions are those of Import.
type ImportOptions struct {
	Options
	// File is an archive, or any part of it.
	File string
	// Verify compares the whole archive with its digests before anything is copied.
	Verify bool
	// LockFile is the lock file to write.
	LockFile string
	// DryRun compares and copies nothing.
	DryRun bool
}

// Import copies the images of an archive to the private registry.
func Import(ctx context.Context, o ImportOptions) (err error) {
	if o.File == "-" {
		return exitcode.Usagef("an archive cannot be read from standard input, because its parts are not read in order: name a file")
	}
	known, err := o.knownLock(ctx)
	if err != nil {
		return err
	}
	a, err := archive.Open(o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return exitcode.AsUsage(err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if o.Verify {
		if err := a.Verify(ctx); err != nil {
			return err
		}
	}
	jobs, err := o.jobs(a.Lock())
	if err != nil {
		return err
	}
	m, client, err := o.mirror(ctx)
	if err != nil {
		return err
	}
	if m.Source, m.Target, err = a.ImportEndpoints(ctx, client, targets(a.Lock(), o.Rules)); err != nil {
		return err
	}
	err = o.copy(ctx, m, client, jobs, o.DryRun, func(p *mirror.Plan) error {
		return o.writeLock(ctx, lockstore.File(o.LockFile), m.BuildLock(o.Rules.Registry(), p, recorded(p, a.Lock(), known)), known)
	})
	return o.Reporter.WriteNext(err)
}

// knownLock returns the lock file that the import will replace, nil if there is none.
func (o ImportOptions) knownLock(ctx context.Context) (*lock.Lock, error) {
	if o.DryRun {
		return nil, nil
	}
	known, err := selection.LockFile{Name: o.LockFile}.Read(ctx, o.Rules)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return known, checkLock(ctx, lockstore.File(o.LockFile))
}

// recorded returns what is known of the images of an import: what the archive has of
// those that the private registry has now, and what the lock file has of the others.
func recorded(p *mirror.Plan, archived, known *lock.Lock) *lock.Lock {
	l := &lock.Lock{Platforms: archived.Platforms}
	for _, i := range p.Items {
		from := known
		if i.State == mirror.StateCopied || i.State == mirror.StatePresent {
			from = archived
		}
		if e, ok := from.Lookup(i.Source, i.Target); ok {
			l.Images = append(l.Images, e)
		}
	}
	return l
}

// jobs are the images of the archive, with their targets below the registry of the rules.
func (o ImportOptions) jobs(l *lock.Lock) ([]mirror.Job, error) {
	if l.Registry != o.Rules.Registry() {
		o.Reporter.Warnf("the file was made for %s; its images go below %s, as the configuration says", l.Registry, o.Rules.Registry())
	}
	target := targets(l, o.Rules)
	var jobs []mirror.Job
	var errs []error
	for _, e := range l.Images {
		ref, err := target(e.Source, e.Target)
		errs = append(errs, err)
		// Platforms may have been left out on export: the digest of the source does
		// not matter then.
		jobs = append(jobs, mirror.Job{Source: e.Source, Target: ref, Locked: &mirror.Locked{Digest: e.Digest, Referrers: e.Referrers}, Chart: e.Chart, Why: e.Why})
	}
	for _, n := range l.NotCopied {
		job := mirror.Job{Source: n.Source, Chart: n.Chart, Why: n.Why, Refused: errors.New("the archive does not have it, because the export failed to read it: export again")}
		if r := selection.Target(l, o.Rules, n.Source, n.Target); r.Changed() {
			job.Target = r.Target
		}
		jobs = append(jobs, job)
	}
	return jobs, exitcode.AsUsage(errors.Join(errs...))
}

// targets returns a function that maps an image of the lock to its target, which the
// rules decide: an archive may come from a place that others can write to. It is an
// error if the lock was made for the same registry and has another target.
func targets(l *lock.Lock, rules *rewrite.Rules) func(source, locked string) (string, error) {
	return func(source, locked string) (string, error) {
		r := selection.Target(l, rules, source, locked)
		switch {
		case !r.Changed():
			return "", fmt.Errorf("%s has no target below %s (%s): change the configuration, or make a file for it with privatelink export", source, rules.Registry(), r.Rule)
		case l.Registry == rules.Registry() && r.Target != locked:
			return "", fmt.Errorf("%s belongs at %s by the configuration, and the archive has it for %s: use the configuration of the export, or export again", source, r.Target, locked)
		}
		return r.Target, nil
	}
}

// parseSize parses a number of bytes such as 4G, in powers of 1024; "" is 0.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	errSize := errors.New("give a size such as 700M or 4G")
	m := regexp.MustCompile(`^([0-9]+)([kmgtKMGT]?)(i?[bB])?$`).FindStringSubmatch(text)
	if m == nil {
		return 0, errSize
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	shift := 0
	if m[2] != "" {
		shift = 10 * (strings.Index("KMGT", strings.ToUpper(m[2])) + 1)
	}
	if err != nil || n == 0 || n > math.MaxInt64>>shift {
		return 0, errSize
	}
	return n << shift, nil
}
