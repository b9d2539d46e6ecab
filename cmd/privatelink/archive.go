// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// exportFlags are those of export.
type exportFlags struct {
	rules    ruleFlags
	images   imageFlags
	locked   lockFlags
	transfer transferFlags

	to, split, since, output string
}

func newExport() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export --to FILE",
		Short: "Put the images into a file, to be carried to where no network leads",
		Long: `Put images into one file, an OCI image layout in a tar. privatelink import copies
them from there to the private registry.

Which images: as for privatelink mirror. Each layer is in the file once. An
interrupted export is continued by starting it again: until it is complete, the
file is called FILE.partial. FILE.sha256 has the digest for sha256sum -c.

With --split there are several files, FILE.000 and so on, for media or shares with
a bound. With --since, layers that the images of an older lock file have are left
out; the import asks the private registry whether they are there.`,
		Example: `  privatelink export --config privatelink.yaml --set phase1,phase2 --to castai.tar
  privatelink export --config privatelink.yaml --to castai.tar --split 4095M
  privatelink export --config privatelink.yaml --chart castai --to castai-delta.tar --since last.lock.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	f.rules.add(c.Flags())
	f.images.add(c.Flags())
	f.locked.add(c.Flags())
	f.transfer.addSource(c.Flags())
	c.Flags().StringVar(&f.to, "to", "", "`FILE` to be written")
	c.Flags().StringVar(&f.split, "split", "", "most that one file may have, a `SIZE` such as 4G; FAT32 takes 4095M")
	c.Flags().StringVar(&f.since, "since", "", "lock `FILE` of what the private registry has already")
	c.Flags().StringVarP(&f.output, "output", "o", "", "json: a summary")
	_ = c.MarkFlagFilename("to")
	_ = c.MarkFlagFilename("since", "yaml")
	return c
}

func (f *exportFlags) run(c *cobra.Command) error {
	if f.to == "" {
		return usageError{errors.New("give the file to be written, with --to FILE")}
	}
	split, err := parseSize(f.split)
	if err != nil {
		return usageError{fmt.Errorf("--split %q: %w", f.split, err)}
	}
	var since *lock.Lock
	if f.since != "" {
		// Before the lock file is written: it may be the same.
		if since, err = lock.Read(f.since); err != nil {
			return usageError{fmt.Errorf("--since: %w", err)}
		}
	}
	tell, err := newTeller(c, f.output)
	if err != nil {
		return err
	}
	rules, _, err := f.rules.rules()
	if err != nil {
		return err
	}
	wanted, old, err := f.locked.images(c, &f.images, rules)
	if err != nil {
		return err
	}
	if len(wanted) == 0 {
		return usageError{errors.New("none of the images has to be copied: there is nothing to export")}
	}
	m, _, err := f.transfer.mirror(c, rules)
	if err != nil {
		return err
	}
	content, err := m.ReadContent(c.Context(), wanted, rules.Registry(), old)
	if err != nil {
		return err
	}
	var progress mirror.Progress
	stop := tell.progress(c.Context(), &progress)
	s, err := archive.Write(c.Context(), content, m.Source, archive.WriteOptions{
		File: f.to, Split: split, Since: since, Parallel: f.transfer.parallel, Progress: &progress,
	})
	stop()
	if err != nil {
		return err
	}
	tell.exported(s)
	return content.Lock.Write(f.locked.file)
}

// exportSummary is the JSON of an export.
type exportSummary struct {
	Event    string         `json:"event"`
	Version  string         `json:"version"`
	Files    []exportedFile `json:"files"`
	Bytes    int64          `json:"bytes"`
	Images   int            `json:"images"`
	Blobs    int            `json:"blobs"`
	Fetched  int64          `json:"fetchedBytes"`
	Kept     int64          `json:"keptBytes"`
	Assumed  int64          `json:"assumedBytes"`
	Warnings []string       `json:"warnings,omitempty"`
}

type exportedFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest"`
}

// exported reports what an export wrote.
func (t *teller) exported(s archive.Summary) {
	if t.json {
		j := exportSummary{Event: "summary", Version: version, Bytes: s.Size, Images: s.Images, Blobs: s.Blobs, Fetched: s.Fetched, Kept: s.Kept, Assumed: s.Assumed, Warnings: s.Unread}
		for _, p := range s.Parts {
			j.Files = append(j.Files, exportedFile{p.Name, p.Size, p.Digest.String()})
		}
		t.line(j)
		return
	}
	for _, u := range s.Unread {
		t.say("warning: its layers were not left out: %s", u)
	}
	for _, p := range s.Parts {
		fmt.Fprintf(t.out, "%s  %s  %s\n", p.Name, size(p.Size), p.Digest)
	}
	fmt.Fprintf(t.out, "%d images, %s; %s were fetched", s.Images, size(s.Size), size(s.Fetched))
	if s.Kept > 0 {
		fmt.Fprintf(t.out, ", %s were there from before", size(s.Kept))
	}
	if s.Assumed > 0 {
		fmt.Fprintf(t.out, ", %s are left out: the private registry must have them", size(s.Assumed))
	}
	fmt.Fprintln(t.out)
}

var sizes = regexp.MustCompile(`^([0-9]+)([kmgtKMGT]?)(i?[bB])?$`)

// parseSize reads a number of bytes such as 4G, by powers of 1024. "" is 0.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	wrong := errors.New("give a size such as 700M or 4G")
	m := sizes.FindStringSubmatch(text)
	if m == nil {
		return 0, wrong
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	shift := 10 * (strings.Index("KMGT", strings.ToUpper(m[2])) + 1)
	if m[2] == "" {
		shift = 0
	}
	if err != nil || n == 0 || n > math.MaxInt64>>shift {
		return 0, wrong
	}
	return n << shift, nil
}

// importFlags are those of import.
type importFlags struct {
	rules    ruleFlags
	transfer transferFlags
	options  runOptions

	lock   string
	verify bool
}

func newImport() *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Copy the images of a file to the private registry",
		Long: `Copy the images of a file that privatelink export wrote to the private registry.
No other registry is asked.

Of a file in parts, give any of them, or the name of the whole; the parts have to lie
in one folder. Everything is compared with its digest on the way, and an image gets
its tag only after all of it is there. An interrupted import is continued by starting
it again.

If the file was made for another registry, its images go to where the configuration
sends them.`,
		Example: `  privatelink import --config privatelink.yaml castai.tar --dry-run
  privatelink import --config privatelink.yaml castai.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.rules.add(c.Flags())
	f.transfer.add(c.Flags())
	f.options.add(c.Flags())
	c.Flags().BoolVar(&f.options.dryRun, "dry-run", false, "say what would be done, and exit with 3 if there is something")
	c.Flags().BoolVar(&f.verify, "verify", false, "read the whole file first, and compare it with its digests")
	c.Flags().StringVar(&f.lock, "lock", lock.DefaultFile, "`FILE` that keeps each image's digest, to be written for privatelink check")
	return c
}

func (f *importFlags) run(c *cobra.Command, file string) (err error) {
	if len(f.transfer.platforms) > 0 {
		return usageError{errors.New("--platform: the file has the platforms that it was exported with; leave others out when exporting")}
	}
	rules, _, err := f.rules.rules()
	if err != nil {
		return err
	}
	a, err := archive.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if f.verify {
		if err := a.Verify(c.Context()); err != nil {
			return err
		}
	}
	images, err := f.images(c, a.Lock(), rules)
	if err != nil {
		return err
	}
	m, client, err := f.transfer.mirror(c, rules)
	if err != nil {
		return err
	}
	if m.Source, m.Target, err = a.ImportEndpoints(c.Context(), client, targets(a.Lock(), rules)); err != nil {
		return err
	}
	f.options.prefix, f.options.old = rules.Registry(), a.Lock()
	if !f.options.dryRun {
		f.options.write = f.lock
	}
	return runMirror(c, m, images, f.options)
}

// images are those of the archive, for the registry of the rules.
func (f *importFlags) images(c *cobra.Command, l *lock.Lock, rules *rewrite.Rules) ([]mirror.Job, error) {
	if l.Registry != rules.Registry() {
		fmt.Fprintf(c.ErrOrStderr(), "privatelink: the file was made for %s; its images go below %s, as the configuration says\n", l.Registry, rules.Registry())
	}
	target := targets(l, rules)
	var images []mirror.Job
	var errs []error
	for _, i := range l.Images {
		ref, err := target(i.Source, i.Target)
		errs = append(errs, err)
		// The archive has what the target is to have, whatever the source once had.
		images = append(images, mirror.Job{Source: i.Source, Target: ref, Locked: &mirror.Locked{Digest: i.Digest}, Why: i.Why})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError{err}
	}
	return images, nil
}

// targets tells where images of a lock belong. One that was made for another
// registry says nothing of this one, and the rules do.
func targets(l *lock.Lock, rules *rewrite.Rules) func(source, locked string) (string, error) {
	if l.Registry == rules.Registry() {
		return func(_, locked string) (string, error) { return locked, nil }
	}
	return func(source, _ string) (string, error) {
		r := rules.Image(source)
		if !r.Changed() {
			return "", fmt.Errorf("%s belongs nowhere below %s (%s): change the configuration, or make a file for it with privatelink export", source, rules.Registry(), r.Rule)
		}
		return r.Target, nil
	}
}
