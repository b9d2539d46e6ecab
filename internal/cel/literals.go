// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// The grammar of references that can be mapped, as regular expressions (RE2):
// https://github.com/distribution/reference, with the host in lower case.
const (
	component = `[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*` // of a path
	undotted  = `[a-z0-9]+((_|__|-+)[a-z0-9]+)*`    // the same, if it cannot be a host
	label     = `[a-z0-9]+(-+[a-z0-9]+)*`           // of a host name
	path      = `(/` + component + `)+`
	suffix    = `(:[0-9A-Za-z_][0-9A-Za-z_.-]{0,127})?(@(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}))?$`

	dottedHost = label + `([.]` + label + `)+`
	anyHost    = label + `(([.]` + label + `)+(:[0-9]+)?|:[0-9]+)`

	// reference has a host, or is on Docker Hub with or without an organization.
	reference = `^(` + anyHost + path + `|` + undotted + path + `|` + component + `)` + suffix
	// remainder follows the registry in the form of the charts' global.registry. A
	// port cannot stand in the middle of a reference.
	remainder = `^` + dottedHost + path + suffix
	// imageID is read as the ID of an image, not as a short name.
	imageID = `^[0-9a-f]{64}$`
	// hostShaped is a path that begins like a host, as package rewrite tests it.
	hostShaped = `([^/]*[.][^/]*|localhost|[^/]*_[0-9]+)/`
)

// literals fill the templates. Patterns are regular expressions, for use between
// the quotes of a CEL string; the optional ones are "" if nothing is to match.
type literals struct {
	Registry  string // the private registry, quoted
	EnvVars   string // the environment variables that hold images, a CEL list
	MaxLength int    // of a reference

	Lists          []list // of a pod spec
	CreateLists    []list // those that the creation of a pod sets
	EphemeralLists []list // those of the subresource ephemeralcontainers

	Alias       string   // the prefix that the other aliases are folded into
	AliasLength int      // of Alias and the slash after it
	BeforeAlias []source // the rules and kept prefixes that are tried before it
	AfterAlias  []source // the others

	Reference, Remainder, ImageID, HostShaped string // patterns of the grammar
	ECR, Loopback, ExplicitHost               string // patterns of package rewrite

	AliasPattern string // Alias, without an anchor
	Aliases      string // all aliases, without an anchor or parentheses
	Mapped       string // what may follow the registry to be mapped from there, aliases apart
	NotMapped    string // what follows an alias, and the registry before it, without being mapped
	OnOwnHost    string // aliases and rules on the registry's own host; optional
	Kept         string // kept prefixes; optional
	OverKept     string // longer aliases and rules, which win over a kept prefix; optional
	Targets      string // targets of rules, which no alias may write to; optional
}

// list is a list of a pod spec whose items have images.
type list struct {
	Name    string // such as volumes
	Field   string // the image of an item in CEL: image.?reference
	Pointer string // the same as a JSON pointer: image/reference
	Env     bool   // the items have environment variables that hold images
}

// source is a prefix of references and the path that replaces it, "" for a kept
// prefix.
type source struct{ Prefix, Target string }

func newLiterals(r *rewrite.Rules) literals {
	config, envVars, aliases := r.Config(), r.EnvVars(), rewrite.Aliases()
	l := literals{
		Registry: quote(r.Registry()), MaxLength: maxLength,
		EnvVars:   "[" + join(envVars, ", ", quote) + "]",
		Reference: reference, Remainder: remainder, ImageID: imageID, HostShaped: hostShaped,
		ECR: rewrite.ECRPattern, Loopback: rewrite.LoopbackPattern, ExplicitHost: rewrite.ExplicitHostPattern,
		Alias: aliases[0], AliasLength: len(aliases[0]) + 1, AliasPattern: escape(aliases[0]), Aliases: join(aliases, "|", escape),
	}
	for _, p := range podspec.Lists() {
		item := list{p.Name, strings.Join(p.Image, ".?"), strings.Join(p.Image, "/"), p.Env && len(envVars) > 0}
		l.Lists = append(l.Lists, item)
		if p.Subresource == "" {
			l.CreateLists = append(l.CreateLists, item)
		} else {
			l.EphemeralLists = append(l.EphemeralLists, item)
		}
	}
	for _, e := range r.Entries() {
		if s := (source{e.Source, e.Target}); len(e.Source) >= len(l.Alias) {
			l.BeforeAlias = append(l.BeforeAlias, s)
		} else {
			l.AfterAlias = append(l.AfterAlias, s)
		}
	}

	var targets []string
	sources := slices.Clone(aliases)
	l.Mapped = `^index[.]docker[.]io/|^docker[.]io/[^/]+$`
	l.NotMapped = "^(" + l.Aliases + ")/" + hostShaped
	for _, rule := range config.Rules {
		sources, targets = append(sources, rule.Source), append(targets, rule.Target)
		l.Mapped += "|^" + prefix(rule.Source)
		l.NotMapped += "|^" + prefix(l.Alias+"/"+rule.Target)
	}
	host, _, _ := strings.Cut(r.Registry(), "/")
	l.OnOwnHost = anyPrefix(filter(sources, func(s string) bool { return s == host || strings.HasPrefix(s, host+"/") }))
	l.Kept = anyPrefix(config.Keep)
	var over []string
	for _, kept := range config.Keep {
		over = append(over, filter(sources, func(s string) bool { return strings.HasPrefix(s, kept+"/") })...)
	}
	l.OverKept = anyPrefix(over)
	if len(targets) > 0 {
		l.Targets = "^(" + join(targets, "|", escape) + ")(/|$)"
	}
	return l
}

// anyPrefix matches references with one of the prefixes; "" for none.
func anyPrefix(prefixes []string) string {
	if len(prefixes) == 0 {
		return ""
	}
	return "^(" + join(prefixes, "|", prefix) + ")"
}

// prefix matches a prefix of references up to its end. Only "/" ends a host:
// a colon begins a port, and the reference is on another host.
func prefix(s string) string {
	if !strings.Contains(s, "/") {
		return escape(s) + "/"
	}
	return escape(s) + "([/:@]|$)"
}

// escape escapes without backslashes, which CEL would need to have escaped again.
func escape(s string) string { return strings.ReplaceAll(s, ".", "[.]") }

func quote(s string) string { return fmt.Sprintf("%q", s) }

func filter(all []string, keep func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !keep(s) })
}

func join(all []string, separator string, format func(string) string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = format(s)
	}
	return strings.Join(out, separator)
}
