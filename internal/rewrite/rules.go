// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"regexp"
	"slices"
	"sort"
)

// maxRepository is the longest repository name, host included, that every
// parser in the field accepts (distribution/reference counts the path alone,
// older versions and containers/image count the host too).
const maxRepository = 255

// Like ECRPattern, the expressions are RE2 and are used by the admission
// conditions inside the API server.
const (
	// LoopbackPattern matches a reference that only the node itself can serve.
	LoopbackPattern = `^(localhost|127[.][0-9]+[.][0-9]+[.][0-9]+|[[]::1[]])(:[0-9]+)?/`
	// ExplicitHostPattern matches an env value that names its registry host.
	ExplicitHostPattern = `^[^/.:][^/]*[.:][^/]*/`
)

var loopbackReference = regexp.MustCompile(LoopbackPattern)

// Aliases are the prefixes under which the vendor publishes the same images.
// The first is the canonical one.
func Aliases() []string {
	return []string{
		"us-docker.pkg.dev/castai-hub/library",
		"us-east4-docker.pkg.dev/castai-hub/library",
		"ghcr.io/castai/images",
	}
}

// Rule maps names at or below Source to Target, a path below the registry.
type Rule struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// Rules is a validated configuration, ready to map references. It is immutable
// and safe for concurrent use.
type Rules struct {
	config         Config
	registry, host string
	ecr            bool
	entries        []entry // longest source first; sources folded
	aliases        []string
}

// entry is a rule or a keep.
type entry struct {
	Rule
	keep bool
}

// Registry is the prefix below which the private copies live.
func (r *Rules) Registry() string { return r.registry }

// OnECR reports whether the registry is a private ECR.
func (r *Rules) OnECR() bool { return r.ecr }

// Config returns the configuration, with its defaults filled in.
func (r *Rules) Config() Config {
	c := r.config
	c.Namespaces, c.Rules = slices.Clone(c.Namespaces), slices.Clone(c.Rules)
	c.Keep, c.EnvVars = slices.Clone(c.Keep), slices.Clone(c.EnvVars)
	c.NamespaceSelector = c.NamespaceSelector.clone()
	return c
}

// EnvVars lists the environment variables whose values are references.
func (r *Rules) EnvVars() []string { return slices.Clone(r.config.EnvVars) }

// Namespaces lists the namespaces whose pods are rewritten, apart from those that
// NamespaceSelector selects.
func (r *Rules) Namespaces() []string { return slices.Clone(r.config.Namespaces) }

// Entries lists the rules and the keeps in the order in which they are tried:
// the longest source first, a source at or below an alias spelled the canonical
// way. A keep has no target. The aliases themselves are not among them.
func (r *Rules) Entries() []Rule {
	out := make([]Rule, len(r.entries))
	for i, e := range r.entries {
		out[i] = e.Rule
	}
	return out
}

// build makes Rules of a configuration that has no faults.
func build(c Config) *Rules {
	host := RegistryHost(c.Registry)
	r := &Rules{config: c, registry: c.Registry, host: host, ecr: IsECRHost(host), aliases: Aliases()}
	for _, rule := range c.Rules {
		rule.Source = r.foldSource(rule.Source)
		r.entries = append(r.entries, entry{Rule: rule})
	}
	for _, k := range c.Keep {
		r.entries = append(r.entries, entry{Rule: Rule{Source: r.foldSource(k)}, keep: true})
	}
	sort.Slice(r.entries, func(i, j int) bool {
		a, b := r.entries[i].Source, r.entries[j].Source
		if len(a) != len(b) {
			return len(a) > len(b)
		}
		return a < b
	})
	return r
}

// matched is the result of matching a name; source is empty if no rule matches.
// layout is then the name to lay out by default, the canonical spelling.
type matched struct {
	source, kind, target string
	keep                 bool
	layout               string
}

// match finds the longest source among keeps, rules and aliases. The aliases
// are spellings of one prefix: a rule or keep below one of them holds for all.
func (r *Rules) match(name string) matched {
	alias, rest, aliased := r.alias(name)
	shortest := 0
	if aliased {
		name, shortest = r.aliases[0]+"/"+rest, len(r.aliases[0])
	}
	for _, e := range r.entries {
		if len(e.Source) < shortest {
			break
		}
		path, ok := below(name, e.Source)
		switch {
		case !ok && name != e.Source:
			continue
		case e.keep:
			return matched{source: e.Source, keep: true}
		case name == e.Source:
			return matched{source: e.Source, kind: "rule", target: e.Target}
		}
		return matched{source: e.Source, kind: "rule", target: e.Target + "/" + path}
	}
	if !aliased || r.ruleTarget(rest) {
		return matched{layout: name}
	}
	return matched{source: alias, kind: "alias", target: rest}
}

// alias splits a name at the alias prefix it lies below. A remainder that
// begins like a host is not the vendor's: it would share its target with the
// default layout of that host.
func (r *Rules) alias(name string) (prefix, rest string, ok bool) {
	for _, a := range r.aliases {
		if rest, ok := below(name, a); ok && !hostShaped(rest) {
			return a, rest, true
		}
	}
	return "", "", false
}

// ruleTarget reports whether a rule's target path is at or above the path. An
// alias must not write there, or it would share names with that rule.
func (r *Rules) ruleTarget(path string) bool {
	for _, e := range r.entries {
		if _, ok := below(path, e.Target); !e.keep && (ok || path == e.Target) {
			return true
		}
	}
	return false
}

// foldSource spells a source that lies at or below an alias the canonical way.
func (r *Rules) foldSource(source string) string {
	if slices.Contains(r.aliases, source) {
		return r.aliases[0]
	}
	if _, rest, ok := r.alias(source); ok {
		return r.aliases[0] + "/" + rest
	}
	return source
}
