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
	tagged   map[string]*candidate // by target, or by the reference itself where there is none
	untagged map[string]*candidate // repositories without a known tag, by target
}

// candidate collects what the sources name for one target.
type candidate struct {
	spellings map[string]rewrite.Result // by source
	origins   map[Origin]bool
	notes     map[string]bool
	webhook   string // the source of the webhook's own image; "" for other images
	carried   bool
}

// New returns an empty list for the rules.
func New(rules *rewrite.Rules) *List {
	return &List{rules: rules, tagged: map[string]*candidate{}, untagged: map[string]*candidate{}}
}

// Rules returns the rules of the list.
func (l *List) Rules() *rewrite.Rules { return l.rules }

// Add adds the reference of an image field. It has no error: a reference that
// cannot be mapped is listed with the reason.
func (l *List) Add(ref string, origin Origin) {
	if ref != "" && ref != rewrite.Placeholder { // the API server reports an empty one itself
		l.add(l.tagged, l.rules.Image(ref), origin)
	}
}

// AddEnv adds the value of a listed environment variable. A value that names no
// registry host is a bare tag or name, no reference, and not listed.
func (l *List) AddEnv(_, value string, origin Origin) {
	if r := l.rules.EnvValue(value); value != "" && r.Reason != rewrite.NoHost {
		l.add(l.tagged, r, origin)
	}
}

// AddWebhook adds the webhook's own image. The install bundle decides its target, and
// not the rules. carried is Entry.Carried.
func (l *List) AddWebhook(source, target string, carried bool) {
	r := full(rewrite.Result{Source: source, Target: target, Outcome: rewrite.Rewritten, Rule: WebhookRule})
	c := l.add(l.tagged, r, WebhookOrigin())
	c.webhook, c.carried = r.Source, carried
}

// addUntagged adds a repository whose tag is not known. That differs from a
// reference without a tag, which means the tag latest.
func (l *List) addUntagged(repository string, origin Origin) *candidate {
	return l.add(l.untagged, l.rules.Image(repository), origin)
}

func (l *List) add(into map[string]*candidate, r rewrite.Result, origin Origin) *candidate {
	r = full(l.public(r))
	e := into[r.Target]
	if e == nil {
		e = newCandidate()
		into[r.Target] = e
	}
	e.spellings[r.Source], e.origins[origin] = r, true
	return e
}

func newCandidate() *candidate {
	return &candidate{spellings: map[string]rewrite.Result{}, origins: map[Origin]bool{}, notes: map[string]bool{}}
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

// full spells the source of a copy with its registry's host, so that it can be
// pulled. Tag and digest stay as they are.
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
func (l *List) Images() []Entry {
	all := l.derive()
	images := []Entry{} // never null in JSON
	known := map[string]bool{}
	for _, e := range all.tagged {
		i := all.image(e)
		images = append(images, i)
		known[rewrite.SplitReference(i.Target).Repository] = true
	}
	for target, e := range all.untagged {
		// Another source names a tag.
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
	slices.SortFunc(images, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Source, b.Source))
	})
	return images
}

// image makes the entry of one target.
func (l *List) image(e *candidate) Entry {
	sources := slices.SortedFunc(maps.Keys(e.spellings), func(a, b string) int {
		return l.compareSpellings(e.spellings[a], e.spellings[b])
	})
	if i := slices.Index(sources, e.webhook); i > 0 {
		sources = slices.Insert(slices.Delete(sources, i, i+1), 0, e.webhook)
	}
	r := e.spellings[sources[0]]
	i := Entry{
		Source: r.Source, Also: also(e, sources), Target: r.Target, Outcome: r.Outcome, Reason: r.Reason, Rule: r.Rule,
		Copy: r.Changed(), Carried: e.carried, Derived: true, Origins: slices.SortedFunc(maps.Keys(e.origins), compareOrigins),
		Note: strings.Join(slices.Sorted(maps.Keys(e.notes)), "; "),
	}
	for _, o := range i.Origins {
		i.Derived = i.Derived && o.From == Rule
	}
	switch {
	case e.carried:
		i.Note = join(noteCarried, i.Note)
	case e.webhook != "":
		i.Note = join(noteWebhook, i.Note)
	case i.Outcome == rewrite.Private:
		i.Note = join(notePrivate, i.Note)
	case i.Outcome == rewrite.Kept:
		i.Note = join(noteKept, i.Note)
	}
	return i
}

// also returns the spellings after the first that are public references.
func also(e *candidate, sources []string) (others []string) {
	for _, s := range sources[1:] {
		if e.spellings[s].Changed() {
			others = append(others, s)
		}
	}
	return others
}

// compareSpellings orders by preference as the source of a copy: a public reference
// before a private one, and the vendor's first registry before its others.
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
var ranks = []From{Embedded, Manifest, Chart, Workload, Release, Pod, Rule, Bundle}

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
