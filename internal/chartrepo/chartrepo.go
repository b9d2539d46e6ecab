// SPDX-License-Identifier: Apache-2.0

// Package chartrepo writes a classic repository of Helm charts, which is index.yaml and
// archives, for what fetches charts by HTTP and not from a registry.
package chartrepo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/catalog/track"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/s3bucket"
)

// indexFile is the name of the index.
const indexFile = "index.yaml"

// maxAttempts bounds how often an index is merged with those of other runs.
const maxAttempts = 10

// Options are those of Run. Rules, Place and Out are required.
type Options struct {
	Rules *rewrite.Rules
	// Sets are those whose charts are written if the configuration names none.
	Sets []string
	// Charts has the command that parses indexes. Its other fields are not used.
	Charts chart.Options
	Cache  chart.Cache
	// Place is a folder, or s3://BUCKET/PREFIX.
	Place   string
	Profile string // of AWS
	// Lock is that of a mirror. Versions whose images it has not mirrored are left out. The
	// default is to add all.
	Lock lockstore.Store
	// URL is the address of the place on its web server, and makes the addresses of the
	// archives absolute. Helm does not need that, but CAST AI's operator and cluster controller
	// take an address as the index has it.
	// https://github.com/castai/castware-operator/blob/19052ac/internal/helm/chart_loader.go
	// The default in S3 is the address of the bucket.
	URL   string
	Out   io.Writer
	Warnf func(format string, args ...any)
}

// place is where a repository is kept. Names are those of files in it.
type place interface {
	fmt.Stringer
	// at returns a file as errors name it.
	at(name string) string
	// check returns an error if the place cannot be used.
	check(ctx context.Context) error
	// url returns where the place is served, "" if only its user knows. It is for after check.
	url() string
	// lock keeps other runs away until unlock is called, if the place has such means.
	lock(ctx context.Context, warnf func(string, ...any)) (unlock func() error, err error)
	// readIndex returns fs.ErrNotExist if there is none.
	readIndex(ctx context.Context) ([]byte, error)
	// addArchive writes an archive, unless it is there.
	addArchive(ctx context.Context, name string, data []byte) error
	// replaceIndex replaces the index that was read last. It returns s3bucket.ErrChanged if
	// another run has replaced it since.
	replaceIndex(ctx context.Context, data []byte) error
}

func open(o Options) (place, error) {
	switch scheme, _, found := strings.Cut(o.Place, "://"); {
	case !found:
		return folder(o.Place), nil
	case scheme+"://" == s3bucket.Scheme:
		return newBucket(o.Place, o.Profile)
	}
	return nil, fmt.Errorf("%s: a chart repository is kept in a folder or in s3://BUCKET/PREFIX", o.Place)
}

// Run adds the newest versions of the tracked charts to the place. What is there stays, also
// if the repository has it no longer. A version that cannot be added does not stop the
// others, and is part of the error.
func Run(ctx context.Context, o Options) (err error) {
	for _, set := range o.Sets {
		if err := catalog.CheckSet(set); err != nil {
			return exitcode.Usagef("--set: %w", err)
		}
	}
	if err := checkURL(o.URL); err != nil {
		return exitcode.Usagef("--url %q: %w", o.URL, err)
	}
	p, err := open(o)
	if err != nil {
		return exitcode.AsUsage(err)
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	o.URL = cmp.Or(o.URL, p.url())
	t := track.Tracker{Rules: o.Rules, Charts: catalog.Charts(o.Sets), Options: o.Charts, Cache: o.Cache, Warnf: o.Warnf}
	versions, err := t.Versions(ctx)
	if err != nil {
		return err
	}
	if versions, err = o.mirrored(ctx, versions); err != nil {
		return err
	}
	unlock, err := p.lock(ctx, o.Warnf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return update(ctx, o, p, versions)
}

// checkURL refuses what is no address of a folder on a web server. "" is none.
func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case address != "" && (u.Scheme != "https" && u.Scheme != "http" || u.Host == ""):
		return errors.New("want the address of the repository on its web server, such as https://charts.example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("leave out user, query and fragment")
	}
	return nil
}

// mirrored returns the versions whose images are mirrored, by the lock. A chart must not be
// offered before its images.
func (o Options) mirrored(ctx context.Context, versions []chart.Version) (kept []chart.Version, err error) {
	if o.Lock == nil {
		return versions, nil
	}
	l, err := o.Lock.Read(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		l, err = &lock.Lock{}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if newest := l.Tracked[v.Chart]; newest != "" && compare(v.Version, newest) <= 0 {
			kept = append(kept, v)
			continue
		}
		o.Warnf("chart %s %s is left out: no run of privatelink mirror --track with the lock %s has copied its images", v.Chart, v.Version, o.Lock)
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("%s lists no chart whose images are copied: run privatelink mirror --track --lock %[1]s first", o.Lock)
	}
	return kept, nil
}

// update adds versions to a place.
func update(ctx context.Context, o Options, p place, versions []chart.Version) error {
	i, err := readIndex(ctx, p)
	if err != nil {
		return err
	}
	var (
		entries  []entry
		failures []error
	)
	for _, v := range versions {
		e, err := addArchive(ctx, o, p, i, v)
		if err != nil {
			failures = append(failures, err)
		} else {
			entries = append(entries, e)
		}
		if ctx.Err() != nil {
			return ctx.Err() // the index is as it was
		}
	}
	added, refused, err := i.commit(ctx, p, o.URL, entries)
	failures = append(failures, refused...)
	if err != nil {
		return errors.Join(append(failures, err)...)
	}
	if _, err := fmt.Fprintf(o.Out, "%s: %d versions of charts, %d of them new\n", p, i.count(), added); err != nil {
		return err
	}
	if o.URL == "" {
		o.Warnf("the index has the names of the archives alone, which Helm resolves and CAST AI's operator does not: add --url")
	}
	return errors.Join(failures...)
}
