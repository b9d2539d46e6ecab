// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// List collects images. It is not safe for concurrent use. What it yields does
// not depend on the order in which images were added.
type List struct {
	rules    *rewrite.Rules
	tagged   map[string]*entry // by target, or by the reference itself where there is none
	untagged map[string]*entry // repositories whose tag nobody knows, by target
	// variables are the environment variables that named an image.
	variables map[string]bool
}

// entry is what was said of one target.
type entry struct {
	spellings map[string]rewrite.Result // by source
	origins   map[Origin]bool
	notes     map[string]bool
	webhook   bool
}

// New returns an empty list under the rules.
func New(rules *rewrite.Rules) *List {
	return &List{rules: rules, tagged: map[string]*entry{}, untagged: map[string]*entry{}, variables: map[string]bool{}}
}

// Rules are those that the list was made with.
func (l *List) Rules() *rewrite.Rules { return l.rules }

// Add adds the reference of an image field. It has no error: a reference that
// cannot be mapped is listed with the reason.
func (l *List) Add(ref string, origin Origin) {
	if ref != "" { // the API server reports that itself
		l.put(l.tagged, l.rules.Image(ref), origin)
	}
}

// AddEnv adds the value of a listed environment variable; name is "" where it is
// not known. A value that names no registry host is a bare tag or name, no
// reference, and not listed.
func (l *List) AddEnv(name, value string, origin Origin) {
	if r := l.rules.EnvValue(value); value != "" && r.Reason != rewrite.NoHost {
		l.variables[name] = true
		l.put(l.tagged, r, origin)
	}
}

// AddWebhook adds the webhook's own image, which is pushed to the registry by
// whoever builds it and has no public source.
func (l *List) AddWebhook(ref string) {
	l.put(l.tagged, l.rules.Image(ref), Origin{From: Bundle, Name: "privatelink install"}).webhook = true
}

// addUntagged adds a repository whose tag is not known. That differs from a
// reference without a tag, which means the tag latest.
func (l *List) addUntagged(repository string, origin Origin) *entry {
	return l.put(l.untagged, l.rules.Image(repository), origin)
}

func (l *List) put(into map[string]*entry, r rewrite.Result, origin Origin) *entry {
	r = full(l.public(r))
	e := into[r.Target]
	if e == nil {
		e = newEntry()
		into[r.Target] = e
	}
	e.spellings[r.Source], e.origins[origin] = r, true
	return e
}

func newEntry() *entry {
	return &entry{spellings: map[string]rewrite.Result{}, origins: map[Origin]bool{}, notes: map[string]bool{}}
}

// public finds the public source of a reference that the charts' global.registry
// value put below the registry with its host: <registry>/quay.io/acme/x. Nothing
// is assumed, for the rules must send that source to the same target.
func (l *List) public(r rewrite.Result) rewrite.Result {
	inner, ok := strings.CutPrefix(r.Source, l.rules.Registry()+"/")
	if !ok {
		return r
	}
	if p := l.rules.EnvValue(inner); p.Changed() && p.Target == r.Target {
		return p
	}
	return r
}

// full spells the source of a copy with its registry's host, for those who will
// connect to it. Tag and digest stay as they are.
func full(r rewrite.Result) rewrite.Result {
	if !r.Changed() {
		return r
	}
	if ref, err := rewrite.ParseReference(r.Source); err == nil {
		r.Source = ref.String()
	}
	return r
}

// Images returns the list, sorted by target. Images that follow from others by
// rule are among them.
func (l *List) Images() []Image {
	all := l.derive()
	var images []Image
	known := map[string]bool{}
	for _, e := range all.tagged {
		i := all.image(e)
		images = append(images, i)
		known[rewrite.SplitReference(i.Target).Repository] = true
	}
	for target, e := range all.untagged {
		// An unknown tag is no news where somebody knew one.
		if known[target] {
			continue
		}
		i := all.image(e)
		i.Copy = false
		if !i.Unmapped() {
			i.Note = join(i.Note, noteNoTag)
		}
		images = append(images, i)
	}
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Source, b.Source))
	})
	return images
}

// image makes the entry of one target.
func (l *List) image(e *entry) Image {
	sources := slices.SortedFunc(maps.Keys(e.spellings), func(a, b string) int {
		return l.compareSpellings(e.spellings[a], e.spellings[b])
	})
	r := e.spellings[sources[0]]
	i := Image{
		Source: r.Source, Also: also(e, sources), Target: r.Target, Outcome: r.Outcome, Reason: r.Reason, Rule: r.Rule,
		Copy: r.Changed(), Derived: true, Origins: slices.SortedFunc(maps.Keys(e.origins), compareOrigins),
		Note: strings.Join(slices.Sorted(maps.Keys(e.notes)), "; "),
	}
	for _, o := range i.Origins {
		i.Derived = i.Derived && o.From == Rule
	}
	switch {
	case e.webhook:
		i.Copy, i.Note = false, join(noteWebhook, i.Note)
	case i.Outcome == rewrite.Private:
		i.Note = join(notePrivate, i.Note)
	case i.Outcome == rewrite.Kept:
		i.Note = join(noteKept, i.Note)
	}
	return i
}

// also are the spellings beside the first that have a source of their own.
func also(e *entry, sources []string) (others []string) {
	for _, s := range sources[1:] {
		if e.spellings[s].Changed() {
			others = append(others, s)
		}
	}
	return others
}

// compareSpellings puts first what a copy is best made from: a public reference
// rather than a private one, and the vendor's first registry before its others.
func (l *List) compareSpellings(a, b rewrite.Result) int {
	rank := func(r rewrite.Result) int {
		if !r.Changed() {
			return len(rewrite.Aliases()) + 1
		}
		i := slices.IndexFunc(rewrite.Aliases(), func(alias string) bool { return strings.HasPrefix(r.Source, alias+"/") })
		if i < 0 {
			return len(rewrite.Aliases())
		}
		return i
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Source, b.Source))
}

// ranks is the order of the sources.
var ranks = []From{Catalogue, Manifest, Chart, Workload, Release, Pod, Rule, Bundle}

func compareOrigins(a, b Origin) int {
	return cmp.Or(cmp.Compare(slices.Index(ranks, a.From), slices.Index(ranks, b.From)),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Object, b.Object))
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
