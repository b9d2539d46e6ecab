// SPDX-License-Identifier: Apache-2.0

// Package transfer runs the commands that copy or compare images: it connects to
// the registries, selects images, copies them and writes the lock file.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/progress"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/selection"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/webhookimage"
)

// maxParallel bounds the transfers of one run.
const maxParallel = 256

// Options are those of every run. Rules and Reporter are required.
type Options struct {
	Rules    *rewrite.Rules
	Reporter *progress.Reporter

	// Profile is the AWS profile for ECR, PlainHTTP the hosts without TLS.
	Profile   string
	PlainHTTP []string
	// Parallel is the number of transfers at a time, from 1 to 256.
	Parallel int
	// Platforms, such as linux/arm64, are those that are kept; empty keeps all.
	Platforms []string
	// NoReferrers leaves out signatures, attestations and SBOMs. StrictReferrers
	// fails an image whose referrers the private registry refuses.
	NoReferrers, StrictReferrers bool
	// Overwrite moves tags of the private registry that refer to another image.
	Overwrite bool
	// ExpectRole is the role that the AWS caller must be; the zero value allows any.
	ExpectRole awsecr.Role
	// WebhookLayout is the OCI layout of the webhook's image that the command carries, nil
	// if it carries none.
	WebhookLayout fs.FS
}

// Connect returns a client for all registries, and the ECR API of the private
// registry, nil if that is not ECR.
func (o Options) Connect(ctx context.Context) (*registry.Client, *awsecr.Registry, error) {
	c := awsecr.ConnectOptions{
		Settings: awsecr.Settings(o.Rules.Config().Repositories), Profile: o.Profile, PlainHTTP: o.PlainHTTP,
		UserAgent: "privatelink/" + o.Reporter.Version, Warn: o.Reporter.Warn,
	}
	if o.Rules.OnECR() {
		c.Prefix = o.Rules.Registry()
	}
	client, ecr, err := awsecr.Connect(ctx, c)
	if err != nil {
		return nil, nil, exitcode.AsUsage(err)
	}
	return client, ecr, o.checkRole(ctx, ecr)
}

// mirror returns a Mirror between all registries, and its client.
func (o Options) mirror(ctx context.Context) (*mirror.Mirror, *registry.Client, error) {
	if o.Parallel < 1 || o.Parallel > maxParallel {
		return nil, nil, exitcode.Usagef("--parallel %d: use 1 to %d", o.Parallel, maxParallel)
	}
	platforms, err := mirror.ParsePlatforms(o.Platforms)
	if err != nil {
		return nil, nil, exitcode.Usagef("--platform: %w", err)
	}
	client, ecr, err := o.Connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	m := &mirror.Mirror{
		Source: webhookimage.NewSource(client, o.WebhookLayout), Target: client.ForPush(), Parallel: o.Parallel, Platforms: platforms, Overwrite: o.Overwrite,
		Referrers: !o.NoReferrers, StrictReferrers: o.StrictReferrers, Events: o.Reporter.Event,
	}
	if ecr != nil {
		m.Repositories = ecr
	}
	return m, client, nil
}

// CopyOptions are those of Mirror and Check.
type CopyOptions struct {
	Options
	Sources selection.Sources
	Lock    selection.LockFile
	// DryRun compares and copies nothing.
	DryRun bool
}

// Mirror copies the selected images and writes the lock file.
func Mirror(ctx context.Context, o CopyOptions) error { return o.run(ctx, false) }

// Check compares the selected images with the private registry.
func Check(ctx context.Context, o CopyOptions) error {
	o.DryRun = true
	return o.run(ctx, true)
}

// run copies or compares. With compareOnly the content of images that differ is
// not read, so that the amount of work is not known.
func (o CopyOptions) run(ctx context.Context, compareOnly bool) error {
	o.Reporter.Target = o.target()
	selected, err := o.Sources.Jobs(ctx, o.Rules, o.Lock)
	if errors.Is(err, selection.ErrNothingWaits) {
		o.Reporter.Warn(err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	jobs, notCarried, err := o.splitNotCarried(selected.Jobs)
	if err != nil {
		return err
	}
	if compareOnly && o.Sources.IsEmpty() && !o.Lock.Update {
		refuseUnlocked(jobs)
	}
	if !o.DryRun {
		if err := checkLock(ctx, o.Lock.Open()); err != nil {
			return err
		}
	}
	m, client, err := o.mirror(ctx)
	if err != nil {
		return err
	}
	m.Source = chartimage.NewSource(m.Source, jobs, o.Sources.TrackCache)
	if m.CompareOnly = compareOnly; compareOnly {
		m.WithoutSource = !o.Lock.Update
		m.Target = client // the permission to push is not required
	} else {
		client.ExpectPulls(sources(jobs))
	}
	err = o.copy(ctx, m, client, jobs, o.DryRun, func(p *mirror.Plan) error {
		l := m.BuildLock(o.Rules.Registry(), p, selected.Lock)
		l.NotCopied = append(l.NotCopied, notCarried...)
		if o.Sources.Missing {
			l.Add(selected.Lock)
		}
		addTracked(l, selected, p.IsDone())
		return o.writeLock(ctx, o.Lock.Open(), l, selected.Lock)
	})
	return o.Reporter.WriteNext(o.WithFailures(err, selected.Failures))
}

// WithFailures reports what may lack images, after everything else was done with the
// result err.
func (o Options) WithFailures(err error, failures []error) error {
	for _, f := range failures {
		o.Reporter.Warn(f.Error())
	}
	if code := exitcode.Code(err); len(failures) == 0 || code == exitcode.Failed || code == exitcode.Usage {
		return err
	}
	return exitcode.AlreadyPrintedf("%d versions of charts may lack images", len(failures))
}

// target returns the registry and, if it is a source, the cluster.
func (o CopyOptions) target() (t target.Target) {
	if o.Sources.ReadsCluster() {
		t = o.Sources.Kubeconfig.Target()
	}
	host, _ := rewrite.ParseECRHost(o.Rules.Registry()) // of another registry nothing is known
	return t.WithRegistry(o.Rules.Registry(), host.Account, host.Region)
}

// splitNotCarried separates the webhook's image if it was never copied and this program
// was built without it. That is no failure of the other images. It fails if there are
// no others.
func (o Options) splitNotCarried(jobs []mirror.Job) (others []mirror.Job, notCarried []lock.NotCopied, err error) {
	for _, j := range jobs {
		if o.WebhookLayout != nil || j.Locked != nil || !webhookimage.IsCarried(j.Source) {
			others = append(others, j)
			continue
		}
		notCarried = append(notCarried, lock.NotCopied{Source: j.Source, Target: j.Target, Why: j.Why})
		if len(jobs) == len(notCarried) {
			return nil, nil, fmt.Errorf("%s: %w", j.Source, webhookimage.ErrNotCarried)
		}
		o.Reporter.Warnf("%s is left out: %v", j.Source, webhookimage.ErrNotCarried)
	}
	return others, notCarried, nil
}

// sources returns the source repository of each image that is read.
func sources(jobs []mirror.Job) (repositories []string) {
	for _, j := range jobs {
		if j.Refused == nil {
			repositories = append(repositories, rewrite.SplitReference(j.Source).Repository)
		}
	}
	return repositories
}

// refuseUnlocked refuses images that the lock file lists as not copied: to compare
// them, their public registries would have to be contacted.
func refuseUnlocked(jobs []mirror.Job) {
	for n, j := range jobs {
		if j.Locked == nil && j.Refused == nil {
			jobs[n].Refused = errors.New("it was not copied when the lock file was written: run privatelink mirror")
		}
	}
}

// checkLock returns a usage error if the lock cannot be written.
func checkLock(ctx context.Context, s lockstore.Store) error {
	if s.String() == "-" {
		return exitcode.Usagef("--lock -: the lock file cannot be standard output: name a file")
	}
	if err := s.CheckWritable(ctx); err != nil {
		return exitcode.Usagef("--lock: %w", err)
	}
	return nil
}

// startPlanning reports the progress of a plan until stop is called.
func (o Options) startPlanning(ctx context.Context, m *mirror.Mirror) (stop func()) {
	m.Planning = &mirror.PlanProgress{}
	return o.Reporter.StartPlanning(ctx, m.Planning)
}

// copy plans the jobs, runs the plan unless it is a dry run, writes the lock, and
// reports the result, also of an interrupted run.
func (o Options) copy(ctx context.Context, m *mirror.Mirror, client *registry.Client, jobs []mirror.Job, dryRun bool, writeLock func(*mirror.Plan) error) error {
	begin := time.Now()
	stopPlanning := o.startPlanning(ctx, m)
	plan, err := m.Plan(ctx, jobs)
	stopPlanning()
	if err != nil {
		return err
	}
	if err := o.Reporter.WriteHeader(); err != nil {
		return err
	}
	if dryRun {
		return o.Reporter.Compared(plan, remedy(m.CompareOnly))
	}
	var p mirror.Progress
	stop := o.Reporter.Start(ctx, &p, client.Waits)
	err = m.Run(ctx, plan, &p)
	stop()
	err = errors.Join(err, writeLock(plan))
	copied := o.Reporter.Copied(plan, &p, time.Since(begin))
	if err != nil {
		return err
	}
	return copied
}

// remedy says how to copy what a run that compares only, or a dry run, found missing.
func remedy(compareOnly bool) string {
	if compareOnly {
		return "run privatelink mirror with the same flags"
	}
	return "run the command again without --dry-run"
}

// lockTimeout bounds the write of a lock, also at the end of an interrupted run.
const lockTimeout = 30 * time.Second

// addTracked keeps in the lock of a run with tracked charts what earlier runs have copied:
// a cluster runs older versions than the newest for a while.
func addTracked(l *lock.Lock, selected selection.Selected, isDone bool) {
	if selected.Tracked == nil {
		return
	}
	l.AddImages(selected.Lock)
	if isDone {
		l.Tracked = selected.Tracked
	}
}

// writeLock replaces the lock, unless the new one lists no image. known is its
// content before, nil if there was none.
func (o Options) writeLock(ctx context.Context, s lockstore.Store, l, known *lock.Lock) error {
	if len(l.Images) == 0 {
		o.Reporter.Warnf("%s was not written, because no image was copied", s)
		return nil
	}
	if removed := l.RemovedSince(known); len(removed) > 0 {
		o.Reporter.Warnf("%s lists the images of this run, and no longer %d others, such as %s: name all that belong together in one run", s, len(removed), removed[0])
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
	defer cancel()
	return s.Write(ctx, l)
}

// PrintLock resolves the tags of the images at their source registries, and writes
// a lock file to w. Images that cannot be resolved are listed as not copied, and make
// the result an error. Images that the rules do not map are listed as not copied, too;
// the caller reports them.
func PrintLock(ctx context.Context, o Options, s selection.Sources, images []catalog.Entry, w io.Writer) error {
	jobs := s.ToCopy(images)
	if len(jobs) == 0 {
		return exitcode.Usagef("none of the images has to be copied: the lock file would be empty")
	}
	jobs, notCarried, err := o.splitNotCarried(jobs)
	if err != nil {
		return err
	}
	m, _, err := o.mirror(ctx)
	if err != nil {
		return err
	}
	stopPlanning := o.startPlanning(ctx, m)
	content, err := m.ReadContent(ctx, jobs, o.Rules.Registry(), nil)
	stopPlanning()
	if err != nil {
		return err
	}
	content.Lock.NotCopied = append(content.Lock.NotCopied, notCarried...)
	text, err := content.Lock.Marshal()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	unresolved := slices.DeleteFunc(content.Failed, func(i *mirror.Item) bool { return i.Refused != nil })
	o.reportFailed(unresolved)
	if n := len(unresolved); n > 0 {
		return exitcode.AlreadyPrintedf("%d images could not be resolved", n)
	}
	return nil
}
