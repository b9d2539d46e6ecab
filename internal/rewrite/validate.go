// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// maxRegistry leaves room below the registry for the longest names that the
// vendor publishes, with their source host.
const maxRegistry = 160

// validator collects every fault of a configuration.
type validator struct {
	config Config
	rules  *Rules
	faults Faults
}

func (v *validator) fault(field, what, fix string) {
	v.faults = append(v.faults, Fault{Field: field, What: withoutUser(what), Fix: fix})
}

func (v *validator) validate() {
	v.registry(v.config.Registry)
	v.namespaces()
	v.namespaceSelector()
	v.envVars()
	for i, r := range v.config.Rules {
		field := fmt.Sprintf("rules[%d].source", i)
		v.source(field, r.Source)
		v.mappable(field, r.Source)
		v.target(i, r.Target)
	}
	for i, k := range v.config.Keep {
		v.source(fmt.Sprintf("keep[%d]", i), k)
	}
	v.track()
	v.duplicates()
}

func (v *validator) registry(s string) {
	const field = "registry"
	example := "write it like 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"
	host, path, _ := strings.Cut(s, "/")
	switch {
	case s == "":
		v.fault(field, "is missing", example)
	case strings.Contains(s, "://"):
		v.fault(field, fmt.Sprintf("%q begins with a scheme", s), "leave out everything up to ://")
	case strings.HasSuffix(s, "/") || strings.Contains(s, "//"):
		v.fault(field, fmt.Sprintf("%q has an empty path part", s), "remove the superfluous slash")
	case !v.hasHost(host):
		v.fault(field, fmt.Sprintf("%q has no registry host", s), example)
	case strings.Contains(path, "@") || strings.Contains(path, ":"):
		v.fault(field, fmt.Sprintf("%q has a tag or digest", s), "give the prefix only; each image keeps its own tag and digest")
	case s != strings.ToLower(s):
		v.fault(field, fmt.Sprintf("%q has upper case", s), "ECR names are lower-case: replace placeholders such as ACCOUNT or REGION by yours")
	case !isRepository(s + "/x"):
		v.fault(field, fmt.Sprintf("%q is not a legal registry prefix", s), example)
	case strings.Contains(s, "-controller"):
		v.fault(field, fmt.Sprintf("%q contains \"-controller\"", s), "choose another name: kvisor derives its scanner image by replacing the first \"-controller\" of a reference")
	case len(s) > maxRegistry:
		v.fault(field, fmt.Sprintf("has %d characters, which leaves too little of the 255 for image names", len(s)), fmt.Sprintf("use at most %d", maxRegistry))
	default:
		// A typing error in an ECR host would otherwise make it a plain registry
		// that does not exist.
		var fault Fault
		if _, err := ParseECRHost(host); errors.As(err, &fault) && resemblesECR(host) {
			v.fault(field, fault.What, fault.Fix)
		}
	}
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (v *validator) namespaces() {
	if len(v.config.Namespaces) == 0 {
		v.fault("namespaces", "is empty, so no pod would be rewritten", "name one, or leave the key out for castai-agent; namespaceSelector only adds to them")
	}
	seen := map[string]bool{}
	for i, n := range v.config.Namespaces {
		field := fmt.Sprintf("namespaces[%d]", i)
		switch {
		case !dnsLabel.MatchString(n):
			v.fault(field, fmt.Sprintf("%q is not a namespace name", n), "names have lower-case letters, digits and hyphens; patterns are not supported")
		case n == "kube-system":
			v.fault(field, "kube-system must not wait for a webhook", "remove it: the cluster could fail to start")
		case n == "castai-privatelink":
			v.fault(field, "the webhook's own namespace must not wait for the webhook", "remove it: the webhook's image comes from the registry anyway")
		case seen[n]:
			v.fault(field, fmt.Sprintf("%q stands twice", n), "remove one")
		}
		seen[n] = true
	}
}

// envName is the printable ASCII that Kubernetes allows in names of environment
// variables, without what would need quoting in an admission condition.
var envName = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)

func (v *validator) envVars() {
	for i, e := range v.config.EnvVars {
		field := fmt.Sprintf("envVars[%d]", i)
		switch {
		case !envName.MatchString(e):
			v.fault(field, fmt.Sprintf("%q is not the name of an environment variable", e), "list exact names; patterns are not supported")
		case slices.Contains(v.config.EnvVars[:i], e):
			v.fault(field, fmt.Sprintf("%q stands twice", e), "remove one")
		}
	}
}

// source checks a prefix that rules and keeps match by. One that can never
// match is a fault: it would have no effect, silently.
func (v *validator) source(field, s string) {
	host, path, hasPath := strings.Cut(s, "/")
	switch {
	case s == "":
		v.fault(field, "is missing", "write a registry host, or a host and path such as quay.io/acme")
	case strings.HasSuffix(s, "/"):
		v.fault(field, fmt.Sprintf("%q ends in a slash", s), "remove it; prefixes end at path boundaries by themselves")
	case !v.hasHost(host):
		v.fault(field, fmt.Sprintf("%q has no registry host", s), "write it in full: Docker Hub images are docker.io/NAME/IMAGE or docker.io/library/IMAGE")
	case strings.ContainsAny(path, ":@"):
		v.fault(field, fmt.Sprintf("%q has a tag or digest", s), "give the repository prefix only")
	case s != strings.ToLower(s):
		v.fault(field, fmt.Sprintf("%q has upper case", s), "image names are lower-case")
	case host == "index.docker.io":
		v.fault(field, fmt.Sprintf("%q is not the canonical spelling and would never match", s), "write docker.io")
	case hasPath && !isRepository(s+"/x"):
		v.fault(field, fmt.Sprintf("%q is not a legal repository prefix", s), "write a registry host, or a host and path such as quay.io/acme")
	case v.rules.registry != "" && (s == v.rules.registry || strings.HasPrefix(s, v.rules.registry+"/")):
		v.fault(field, fmt.Sprintf("%q lies below the registry itself", s), "remove it: what is below the registry is private already")
	case IsECRHost(host):
		v.fault(field, fmt.Sprintf("%q is a private ECR", s), "remove it: references to a private ECR are never rewritten")
	}
}

// mappable checks the source of a rule, which would have no effect for hosts whose
// images are never mapped.
func (v *validator) mappable(field, source string) {
	const fix = "remove the rule: these images are not rewritten"
	switch {
	case loopbackReference.MatchString(source + "/"):
		v.fault(field, fmt.Sprintf("%q is a node-local registry", source), fix)
	case strings.HasPrefix(source, "["):
		v.fault(field, fmt.Sprintf("%q is on an IPv6 host, which has no legal name in ECR", source), fix+", or name the host by DNS in image and rule")
	}
}

func (v *validator) target(i int, t string) {
	field := fmt.Sprintf("rules[%d].target", i)
	first, _, _ := strings.Cut(t, "/")
	switch {
	case t == "":
		v.fault(field, "is missing", "write a path below the registry, such as thirdparty/acme")
	case !isRepository("registry.example/" + t):
		v.fault(field, fmt.Sprintf("%q is not a legal repository path", t), "use lower-case parts joined by slashes, without registry, tag or digest")
	case hostLike(first):
		v.fault(field, fmt.Sprintf("%q begins like a registry host", t), "choose another first part: such paths are where images of that host live by default")
	}
	for j, other := range v.config.Rules[:i] {
		_, inside := below(t, other.Target)
		_, around := below(other.Target, t)
		if t != "" && (t == other.Target || inside || around) {
			v.fault(field, fmt.Sprintf("%q and the target of rules[%d], %q, overlap", t, j, other.Target), "give each rule a path of its own, or two images could get one name")
		}
	}
}

// duplicates refuses one source in two fields; the spellings of an alias count
// as one.
func (v *validator) duplicates() {
	type prefix struct{ field, source string }
	var prefixes []prefix
	for i, r := range v.config.Rules {
		prefixes = append(prefixes, prefix{fmt.Sprintf("rules[%d].source", i), r.Source})
	}
	for i, k := range v.config.Keep {
		prefixes = append(prefixes, prefix{fmt.Sprintf("keep[%d]", i), k})
	}
	first := map[string]string{}
	for _, p := range prefixes {
		s := v.rules.foldSource(p.source)
		if at, ok := first[s]; ok && s != "" {
			v.fault(p.field, fmt.Sprintf("%q has the same source as %s", p.source, at), "remove one of the two")
			continue
		}
		first[s] = p.field
	}
}

// hasHost reports whether the parser takes the text before the first slash for
// a registry host.
func (v *validator) hasHost(host string) bool {
	named, err := reference.ParseNormalizedNamed(strings.ToLower(host) + "/x")
	return err == nil && reference.Domain(named) != "" && (reference.Domain(named) == strings.ToLower(host) || host == "index.docker.io")
}

// isRepository reports whether s is a repository name in its canonical spelling.
func isRepository(s string) bool {
	named, err := reference.ParseNormalizedNamed(s)
	return err == nil && reference.IsNameOnly(named) && named.Name() == s
}
