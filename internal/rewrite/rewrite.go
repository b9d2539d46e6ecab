// SPDX-License-Identifier: Apache-2.0

// Package rewrite maps a public image reference to that of its private copy.
//
// It has no I/O, and the webhook, the mirror, the doctor and the rendered
// admission conditions all use the same rules.
//
// The mapping is idempotent, keeps tag and digest to the byte, and never maps
// two images to one name, apart from the registries that publish the same
// images twice. It has no errors: a reference that cannot be mapped is not
// rewritten, and the result has the reason.
package rewrite

import (
	"errors"
	"strings"
)

// Outcome is the result of mapping a reference.
type Outcome string

// The outcomes. Only Rewritten changes the text.
const (
	Empty     Outcome = "empty"     // no text; the API server rejects such a field itself
	Rewritten Outcome = "rewritten" // Target names the private copy
	Private   Outcome = "private"   // already below the registry or in a private ECR
	Kept      Outcome = "kept"      // not rewritten because of the configuration, node-local, or a placeholder
	Unmapped  Outcome = "unmapped"  // cannot be mapped; Reason says why
)

// Placeholder is the value of an image field that Istio's injector replaces with the
// image of its template, in each container whose name the template has. The names
// are a setting of the mesh, so that the value alone decides.
// https://istio.io/latest/docs/setup/additional-setup/gateway/
const Placeholder = "auto"

// Reason says why a reference is not mapped. The set is closed, so that a
// reason can be the label of a metric.
type Reason string

// The reasons of the outcome Unmapped.
const (
	Unparsable    Reason = "unparsable"     // not an image reference at all
	NoHost        Reason = "no_host"        // no registry host: a host with "_", or an env value that is a bare name
	IPv6Host      Reason = "ipv6_host"      // no spelling of it is a legal ECR repository name
	UppercaseHost Reason = "uppercase_host" // ECR repository names are lower-case
	TooLong       Reason = "too_long"       // the repository name with its host would exceed 255 characters
	TooShort      Reason = "too_short"      // ECR repository names have at least two characters
	NotECRLegal   Reason = "not_ecr_legal"  // the result would not be a valid reference
)

// Illegal reports whether the reference was understood but has no legal name in
// ECR, in contrast to one that could not be understood.
func (r Reason) Illegal() bool {
	return r != "" && r != Unparsable && r != NoHost
}

// Result is the result of mapping one reference. Target equals Source, byte for byte,
// unless Outcome is Rewritten.
type Result struct {
	Source  string  `json:"source"`
	Target  string  `json:"target"`
	Outcome Outcome `json:"outcome"`
	Reason  Reason  `json:"reason,omitempty"`
	// Rule names, in words, the rule that decided, or the reason.
	Rule string `json:"rule"`
}

// Changed reports whether the target differs from the source.
func (r Result) Changed() bool { return r.Outcome == Rewritten }

// Image maps the reference of an image field.
func (r *Rules) Image(ref string) Result {
	target, rule, reason := r.decide(ref)
	switch {
	case target != "":
		return Result{Source: ref, Target: target, Outcome: Rewritten, Rule: rule.name}
	case reason != "":
		return Result{Source: ref, Target: ref, Outcome: Unmapped, Reason: reason, Rule: "not rewritten: " + reason.Text()}
	}
	return Result{Source: ref, Target: ref, Outcome: rule.outcome, Rule: rule.name}
}

// EnvValue maps the value of a listed environment variable. Unlike an image
// field it must name its registry host: a bare tag such as v1.2.3 would
// otherwise read as a Docker Hub image.
func (r *Rules) EnvValue(value string) Result {
	if value != "" && !explicitHost(value) {
		return Result{Source: value, Target: value, Outcome: Unmapped, Reason: NoHost, Rule: "not rewritten: " + NoHost.Text()}
	}
	return r.Image(value)
}

// chartFolder is the part of the registry that has the Helm charts.
const chartFolder = "charts"

// Chart maps a Helm chart that is named as HOST/NAME:TAG. No rule applies to it, because
// no pod requests it.
func (r *Rules) Chart(ref string) Result {
	source, err := ParseReference(ref)
	if err != nil {
		return Result{Source: ref, Target: ref, Outcome: Unmapped, Reason: Unparsable, Rule: "not rewritten: " + Unparsable.Text()}
	}
	name := strings.TrimPrefix(source.Repository, source.Host()+"/")
	target, by, reason := r.compose(chartFolder+"/"+name, source, decision{name: "charts"})
	if reason != "" {
		return Result{Source: ref, Target: ref, Outcome: Unmapped, Reason: reason, Rule: "not rewritten: " + reason.Text()}
	}
	return Result{Source: ref, Target: target, Outcome: Rewritten, Rule: by.name}
}

// explicitHost is the host test of ExplicitHostPattern, without the cost of a
// regular expression.
func explicitHost(value string) bool {
	host, _, ok := strings.Cut(value, "/")
	return ok && strings.ContainsAny(host, ".:") && host[0] != '.' && host[0] != ':'
}

// decision names what decided about a reference that has no new target.
type decision struct {
	name    string
	outcome Outcome
}

// decide returns the target, or "" with the outcome or the reason for leaving
// the reference. Its order is the order of docs/reference/configuration.md.
func (r *Rules) decide(ref string) (target string, by decision, reason Reason) {
	switch ref {
	case "":
		return "", decision{"empty", Empty}, ""
	case Placeholder:
		return "", decision{"kept: a placeholder that an injector replaces", Kept}, ""
	}
	source, err := ParseReference(ref)
	switch {
	case errors.Is(err, errNoHost):
		return "", by, NoHost
	case err != nil:
		return "", by, Unparsable
	}
	name := source.Repository
	if rest, ok := below(name, r.registry); ok {
		return r.readBack(rest, ref, source)
	}
	if ecrReference.MatchString(name) {
		return "", decision{"already private: an ECR host", Private}, ""
	}
	if loopbackReference.MatchString(name) {
		return "", decision{"kept: a node-local registry", Kept}, ""
	}
	host := source.Host()
	m := r.match(name)
	switch {
	case m.keep:
		return "", decision{"keep " + m.source, Kept}, ""
	case m.layout == name && host == r.host:
		// A registry that is not ECR: the customer's own, whatever the path.
		return "", decision{"already private: the registry's own host", Private}, ""
	case strings.HasPrefix(host, "["):
		return "", by, IPv6Host
	case host != strings.ToLower(host):
		return "", by, UppercaseHost
	}
	if m.layout != "" {
		host, path, _ := strings.Cut(m.layout, "/")
		return r.compose(encodePort(host)+"/"+path, source, decision{name: "default: source host and path"})
	}
	return r.compose(m.target, source, decision{name: m.kind + " " + m.source})
}

// compose joins the registry, the path, and the tag and digest of the source,
// and validates the result.
func (r *Rules) compose(path string, source Reference, by decision) (string, decision, Reason) {
	repository := r.registry + "/" + path
	switch {
	case len(repository) > maxRepository:
		return "", by, TooLong
	case r.ecr && len(repository)-len(r.host)-1 < 2:
		return "", by, TooShort
	}
	target := repository + source.suffix()
	if parsed, err := ParseReference(target); err != nil || parsed.Repository != repository {
		return "", by, NotECRLegal
	}
	return target, by, ""
}

// readBack maps a reference below the registry. It is private, unless the rest
// is itself a public reference with its host, which is the form that the charts
// make of their global.registry value. That one has the target of the public
// reference.
func (r *Rules) readBack(rest, ref string, source Reference) (string, decision, Reason) {
	private := decision{"already private: below the registry", Private}
	if _, nested := below(rest, r.registry); nested || !explicitHost(rest) {
		return "", private, ""
	}
	target, by, reason := r.decide(rest + source.suffix())
	if reason != "" || target == "" || target == ref {
		return "", private, ""
	}
	by.name += ", in the form of global.registry"
	return target, by, ""
}

// below reports whether name lies below prefix, and what follows the slash.
func below(name, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(name, prefix)
	if !ok || rest == "" || rest[0] != '/' {
		return "", false
	}
	return rest[1:], true
}

// hostShaped reports whether a path of two or more parts begins like the
// default layout does, with a registry host. An alias must not produce such a
// path, or two images would share it.
func hostShaped(path string) bool {
	first, _, ok := strings.Cut(path, "/")
	return ok && hostLike(first)
}

func hostLike(part string) bool {
	if strings.Contains(part, ".") || part == "localhost" {
		return true
	}
	_, port, ok := cutLast(part, '_')
	return ok && port != "" && strings.Trim(port, "0123456789") == ""
}

// encodePort spells host:port as host_port. "_" cannot occur in a host, so no
// other host has that spelling, and ECR allows it in repository names.
func encodePort(host string) string {
	if h, port, ok := cutLast(host, ':'); ok {
		return h + "_" + port
	}
	return host
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// Text describes the reason in a few words.
func (r Reason) Text() string {
	switch r {
	case Unparsable:
		return "not an image reference"
	case NoHost:
		return "no registry host"
	case IPv6Host:
		return "an IPv6 host has no legal name in ECR"
	case UppercaseHost:
		return "upper case in the host has no legal name in ECR"
	case TooLong:
		return "the private name would exceed 255 characters"
	case TooShort:
		return "the private name would be shorter than ECR's two characters"
	}
	return "the private name would not be a legal reference"
}
