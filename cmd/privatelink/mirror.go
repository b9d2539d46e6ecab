// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// copyFlags are those of mirror and check.
type copyFlags struct {
	rules    ruleFlags
	images   imageFlags
	locked   lockFlags
	transfer transferFlags
	options  runOptions
}

func (f *copyFlags) add(flags *pflag.FlagSet) {
	f.rules.add(flags)
	f.images.add(flags)
	f.locked.add(flags)
	f.transfer.add(flags)
	f.options.add(flags)
}

// run copies, or with compare only says what there is to copy.
func (f *copyFlags) run(c *cobra.Command, compare bool) error {
	r, _, err := f.rules.rules()
	if err != nil {
		return err
	}
	wanted, old, err := f.locked.images(c, &f.images, r)
	if err != nil {
		return err
	}
	m, _, err := f.transfer.mirror(c, r)
	if err != nil {
		return err
	}
	m.CompareOnly = compare
	f.options.prefix, f.options.old = r.Registry(), old
	if f.options.dryRun = f.options.dryRun || compare; !f.options.dryRun {
		f.options.write = f.locked.file
	}
	return runMirror(c, m, wanted, f.options)
}

func newMirror() *cobra.Command {
	var f copyFlags
	c := &cobra.Command{
		Use:   "mirror",
		Short: "Copy the images to the private registry",
		Long: `Copy images to the private registry, under the names that the webhook gives them.

Which images: those of the flags, such as --set or --chart; without any, those of
the lock file. What was copied is written to the lock file, by digest, and a later
run copies just that, also where a public tag has moved since; --update asks for
the newest.

Whole images are copied, all platforms, signatures and attestations, and nothing
in them changes. On ECR repositories are created as the configuration says. A tag
that stands for another image stays, unless --overwrite is given. An interrupted
run is continued by starting it again.`,
		Example: `  privatelink mirror --config privatelink.yaml --set phase1,phase2
  privatelink mirror --config privatelink.yaml --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, false) },
	}
	f.add(c.Flags())
	c.Flags().BoolVar(&f.options.dryRun, "dry-run", false, "say what would be done, and exit with 3 if there is something")
	return c
}

func newCheck() *cobra.Command {
	var f copyFlags
	c := &cobra.Command{
		Use:   "check",
		Short: "Say which images the private registry lacks",
		Long: `Say which images are missing in the private registry, or stand for something else
than they should. Nothing is changed.

Before an upgrade, name what will be installed: its images are compared with what
the registry has, and what the public tags stand for today. Without such a flag the
lock file is compared, and no public registry is asked.

Exit codes: 0 all is there, 1 something could not be asked, 2 wrong usage, 3 images
are missing or differ.`,
		Example: `  privatelink check --config privatelink.yaml
  privatelink check --config privatelink.yaml --chart castai --version 0.40.0`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c, true) },
	}
	f.add(c.Flags())
	return c
}

// lockFlags say what is known of the images from earlier.
type lockFlags struct {
	file   string
	update bool
}

func (f *lockFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "lock", lock.DefaultFile, "`FILE` that keeps each image's digest")
	flags.BoolVar(&f.update, "update", false, "ask the sources what the tags stand for now, whatever the lock file says")
}

// readLock reads a lock file, which has to be for the registry of the rules.
func readLock(file string, rules *rewrite.Rules) (*lock.Lock, error) {
	l, err := lock.Read(file)
	if err == nil && l.Registry != rules.Registry() {
		return nil, fmt.Errorf("%s is for the registry %s, not for %s: name another file with --lock", file, l.Registry, rules.Registry())
	}
	return l, err
}

// images are those of the flags, or else of the lock file.
func (f *lockFlags) images(c *cobra.Command, named *imageFlags, rules *rewrite.Rules) ([]mirror.Job, *lock.Lock, error) {
	old, err := readLock(f.file, rules)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if named.empty() {
			return nil, nil, usageError{fmt.Errorf("there is no lock file %s to say which images: name some, for instance with --set phase1,phase2", f.file)}
		}
		old = nil
	case err != nil:
		return nil, nil, usageError{err}
	}
	var wanted []mirror.Job
	if named.empty() {
		for _, i := range old.Images {
			wanted = append(wanted, mirror.Job{Source: i.Source, Target: i.Target, Why: i.Why})
		}
	} else {
		list, err := named.list(c, rules)
		if err != nil {
			return nil, nil, err
		}
		wanted = copies(c, list)
	}
	if f.update {
		return wanted, old, nil
	}
	for n := range wanted {
		if known, ok := old.Lookup(wanted[n].Source, wanted[n].Target); ok {
			wanted[n].Locked = &mirror.Locked{Digest: known.Digest, SourceDigest: known.SourceDigest}
		}
	}
	return wanted, old, nil
}

// copies are the images of a list that are to be copied. Of the others it says
// why not.
func copies(c *cobra.Command, list []catalog.Entry) (wanted []mirror.Job) {
	for _, i := range list {
		if !i.Copy {
			if i.Outcome != rewrite.Private && i.Outcome != rewrite.Kept {
				fmt.Fprintf(c.ErrOrStderr(), "not copied: %s: %s\n", i.Source, whyNot(i))
			}
			continue
		}
		image := mirror.Job{Source: i.Source, Target: i.Target}
		for _, o := range i.Origins {
			image.Why = append(image.Why, o.String())
		}
		wanted = append(wanted, image)
	}
	return wanted
}

func whyNot(i catalog.Entry) string {
	if i.Note != "" {
		return i.Note
	}
	return string(i.Reason)
}

// transferFlags say how images are copied.
type transferFlags struct {
	platforms       []string
	overwrite       bool
	noReferrers     bool
	strictReferrers bool
	parallel        int
	plainHTTP       []string
	profile         string
}

func (f *transferFlags) add(flags *pflag.FlagSet) {
	f.addSource(flags)
	flags.BoolVar(&f.overwrite, "overwrite", false, "move tags of the private registry that stand for another image")
	flags.BoolVar(&f.strictReferrers, "strict-referrers", false, "fail an image whose signatures the private registry does not take, instead of a warning")
}

// addSource adds what is about reading.
func (f *transferFlags) addSource(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.platforms, "platform", nil, "keep only this `PLATFORM`, such as linux/arm64; may be repeated. It changes the digest, and signatures no longer fit")
	flags.BoolVar(&f.noReferrers, "no-referrers", false, "leave signatures, attestations and SBOMs out")
	flags.IntVar(&f.parallel, "parallel", 32, "`NUMBER` of transfers at a time")
	flags.StringVar(&f.profile, "profile", "", "AWS `PROFILE` for ECR (default: as the AWS CLI)")
	flags.StringSliceVar(&f.plainHTTP, "plain-http", nil, "`HOST` of a registry without TLS; may be repeated. This machine's own need no mention")
}

// mirror makes what copies, and the client that it uses.
func (f *transferFlags) mirror(c *cobra.Command, rules *rewrite.Rules) (*mirror.Mirror, *registry.Client, error) {
	if f.parallel < 1 || f.parallel > 256 {
		return nil, nil, usageError{fmt.Errorf("--parallel %d: use 1 to 256", f.parallel)}
	}
	client, own, err := f.registries(c, rules)
	if err != nil {
		return nil, nil, err
	}
	m := &mirror.Mirror{
		Source: client, Target: client, Parallel: f.parallel, Platforms: f.platforms,
		Overwrite: f.overwrite, Referrers: !f.noReferrers, StrictReferrers: f.strictReferrers,
	}
	if own != nil {
		m.Repositories = own
	}
	return m, client, nil
}

// registries connects to the registries, and to the API of the private registry
// if that is ECR.
func (f *transferFlags) registries(c *cobra.Command, rules *rewrite.Rules) (*registry.Client, *awsecr.Registry, error) {
	o := awsecr.ConnectOptions{
		Settings: awsecr.Settings(rules.Config().Repositories), Profile: f.profile, PlainHTTP: f.plainHTTP, UserAgent: "privatelink/" + version,
		Warn: func(message string) { fmt.Fprintln(c.ErrOrStderr(), "privatelink:", message) },
	}
	if rules.OnECR() {
		o.Prefix = rules.Registry()
	}
	client, private, err := awsecr.Connect(c.Context(), o)
	return client, private, exitcode.AsUsage(err)
}

// registryClient logs in wherever it has to. The hosts are those without TLS,
// besides this machine's own.
func registryClient(login *awsecr.Login, plainHTTP []string) *registry.Client {
	return registry.New(registry.Options{
		Credential: login.Credential,
		Transport:  login.Transport(registry.NewTransport()),
		UserAgent:  "privatelink/" + version,
		PlainHTTP:  func(host string) bool { return slices.Contains(plainHTTP, host) || registry.IsLoopback(host) },
	})
}

// runOptions say what is told of a run, and what is written at its end.
type runOptions struct {
	output string
	dryRun bool

	prefix string
	old    *lock.Lock
	write  string // the lock file, "" for none
}

func (o *runOptions) add(flags *pflag.FlagSet) {
	flags.StringVarP(&o.output, "output", "o", "", "json: an event a line, and a summary as the last")
}

// runMirror plans, copies unless it is a dry run, and reports.
func runMirror(c *cobra.Command, m *mirror.Mirror, images []mirror.Job, o runOptions) error {
	tell, err := newTeller(c, o.output)
	if err != nil {
		return err
	}
	m.Events = tell.event
	begin := time.Now()
	plan, err := m.Plan(c.Context(), images)
	if err != nil {
		return err
	}
	if o.dryRun {
		return tell.planned(plan)
	}
	var progress mirror.Progress
	stop := tell.progress(c.Context(), &progress)
	err = m.Run(c.Context(), plan, &progress)
	stop()
	if o.write != "" {
		l := m.BuildLock(o.prefix, plan, o.old)
		if dropped := l.RemovedSince(o.old); len(dropped) > 0 {
			fmt.Fprintf(c.ErrOrStderr(), "privatelink: %s lists the images of this run, and no longer %d others, such as %s; name all that belong together in one run\n", o.write, len(dropped), dropped[0])
		}
		err = errors.Join(err, l.Write(o.write))
	}
	if err != nil {
		return err
	}
	return tell.done(plan, &progress, time.Since(begin))
}
