// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Condition is one CEL match condition of a webhook configuration.
type Condition struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// PodConditions decide, inside the API server, whether the creation of a pod is
// sent to the webhook: only if some reference is not private. They are the
// fence that makes failurePolicy Fail safe.
//
// They ask "is it not private?", not "is it known to be public?": an unknown
// spelling then costs a call that the webhook answers with an empty patch,
// where a list of known prefixes would let a pod through that nobody rewrites.
// Whatever the webhook would patch, they send; a test holds them to it.
func PodConditions(r *rewrite.Rules) []Condition {
	var lists []string
	for _, l := range podspec.Lists() {
		if l.Subresource == "" {
			lists = append(lists, "["+items(l.Name)+imagesOf(l)+"]")
			if l.Env && len(r.EnvVars()) > 0 {
				lists = append(lists, items(l.Name)+valuesOf(r.EnvVars()))
			}
		}
	}
	return []Condition{
		{"has-public-image", bind(r, "(\n    "+strings.Join(lists, " +\n    ")+"\n  ).exists(images, images.exists(image,\n"+public(r, "registry")+"))")},
		{"not-a-static-pod", notStatic()},
	}
}

// EphemeralConditions are the same for an update of pods/ephemeralcontainers,
// where only the entries that the update adds count.
func EphemeralConditions(r *rewrite.Rules) []Condition {
	for _, l := range podspec.Lists() {
		if l.Subresource == podspec.EphemeralContainers {
			added := fmt.Sprintf("%s\n    .filter(c, !oldObject.spec.?%s.orValue([]).exists(o, o.name == c.name))\n    %s",
				items(l.Name), l.Name, imagesOf(l))
			return []Condition{{"new-public-image", bind(r, added+".exists(image,\n"+public(r, "registry")+")")}}
		}
	}
	return nil
}

// bind names the registry once: match conditions have no variables, and the
// bundle replaces exactly one text between quotes.
func bind(r *rewrite.Rules, expression string) string {
	return fmt.Sprintf("[%q].exists(registry,\n  %s)", r.Registry(), expression)
}

// Every optional field goes through .?field.orValue(…): an error in an
// expression rejects the pod under failurePolicy Fail.
func items(list string) string { return "object.spec.?" + list + ".orValue([])" }

func imagesOf(l podspec.List) string {
	return `.map(c, c.?` + strings.Join(l.Image, ".?") + `.orValue(""))`
}

func valuesOf(names []string) string {
	return `.map(c, c.?env.orValue([])` + "\n" +
		`      .filter(e, e.name in ` + quoted(names) + ` && e.?value.orValue("").matches("` + rewrite.ExplicitHostPattern + `"))` + "\n" +
		`      .map(e, e.value))`
}

// public is the test of one reference: below the registry only what would be
// read back from there; elsewhere all but private ECRs, node-local registries,
// the registry's own host where it is not ECR, and what is kept. registry is
// the CEL that names the registry.
func public(r *rewrite.Rules, registry string) string {
	test := `      image != "" && (image.startsWith(` + registry + ` + "/")
        ? ` + readBack(r, `image.substring(size(`+registry+`) + 1)`) + `
        : !image.matches("` + rewrite.ECRPattern + `|` + rewrite.LoopbackPattern + `")
          && ` + elsewhere(r, registry)
	if kept, longer := keeps(r); kept != "" {
		test += "\n          && !(image.matches(\"" + kept + "\")"
		if longer != "" {
			test += " && !image.matches(\"" + longer + "\")"
		}
		test += ")"
	}
	return test + ")"
}

// elsewhere says that a reference is not on the registry's own host: what lies
// there is the customer's own, whatever the path, unless a rule takes it.
func elsewhere(r *rewrite.Rules, registry string) string {
	host, _, _ := strings.Cut(r.Registry(), "/")
	var taken []string
	for _, source := range append(rewrite.Aliases(), sources(r.Config().Rules)...) {
		if source == host || strings.HasPrefix(source, host+"/") {
			taken = append(taken, boundary(source))
		}
	}
	test := `!image.startsWith(` + registry + `.split("/")[0] + "/")`
	if len(taken) > 0 {
		test = "(" + test + ` || image.matches("^(` + strings.Join(taken, "|") + `)"))`
	}
	return test
}

// readBack matches what the webhook maps although it is below the registry, in
// the form of the charts' global.registry: rules, spellings of Docker Hub, and
// aliases. rest is the CEL that names what follows the registry.
func readBack(r *rewrite.Rules, rest string) string {
	always := []string{`^index[.]docker[.]io/`, `^docker[.]io/[^/]+$`}
	for _, rule := range r.Config().Rules {
		always = append(always, "^"+boundary(rule.Source))
	}
	alias := rewrite.Aliases()[0]
	never := []string{"^(" + aliases() + ")/" + hostShaped}
	for _, rule := range r.Config().Rules {
		never = append(never, "^"+quote(alias+"/"+rule.Target)+"([/:@]|$)")
	}
	return "(" + rest + `.matches("` + strings.Join(always, "|") + `")
          || ` + rest + `.matches("^(` + aliases() + `)/") && !` + rest + `.matches("` + strings.Join(never, "|") + `"))`
}

// quoted is a list of names as CEL's text.
func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// keeps returns expressions for the kept prefixes, and for the rules and
// aliases that win over them, being longer.
func keeps(r *rewrite.Rules) (kept, longer string) {
	c := r.Config()
	var keep, over []string
	for _, k := range c.Keep {
		keep = append(keep, boundary(k))
		for _, source := range append(rewrite.Aliases(), sources(c.Rules)...) {
			if strings.HasPrefix(source, k+"/") {
				over = append(over, boundary(source))
			}
		}
	}
	if len(keep) > 0 {
		kept = "^(" + strings.Join(keep, "|") + ")"
	}
	if len(over) > 0 {
		longer = "^(" + strings.Join(over, "|") + ")"
	}
	return kept, longer
}

func sources(rules []rewrite.Rule) (s []string) {
	for _, r := range rules {
		s = append(s, r.Source)
	}
	return s
}

// boundary matches a source prefix at its end: a host is followed by a path,
// since a colon there would begin a port and thus name another host.
func boundary(source string) string {
	if !strings.Contains(source, "/") {
		return quote(source) + "/"
	}
	return quote(source) + "([/:@]|$)"
}

// quote escapes without backslashes, which would need escaping again in CEL.
func quote(s string) string {
	return regexp.MustCompile(`[.]`).ReplaceAllString(s, "[.]")
}
