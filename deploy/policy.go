// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// PolicyName is the name of the MutatingAdmissionPolicy and of its binding.
const PolicyName = "privatelink"

// The grammar of references, as github.com/distribution/reference has it, as
// far as a reference can be mapped: with a host in lower case, or on Docker Hub.
const (
	component = `[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*` // of a path
	undotted  = `[a-z0-9]+((_|__|-+)[a-z0-9]+)*`    // the same, if it cannot be a host
	label     = `[a-z0-9]+(-+[a-z0-9]+)*`           // of a host name
	tail      = `(:[0-9A-Za-z_][0-9A-Za-z_.-]{0,127})?(@(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}))?$`

	// dottedHost is a host that the charts' global.registry form can name: a
	// port cannot stand in the middle of a reference.
	dottedHost = label + `([.]` + label + `)+`
	anyHost    = label + `(([.]` + label + `)+(:[0-9]+)?|:[0-9]+)`
	paths      = `(/` + component + `)+`
	// mappable is a whole reference, of any of the three forms.
	mappable = `^(` + anyHost + paths + `|` + undotted + paths + `|` + component + `)` + tail
	// readable is what may follow the registry to be read back from there.
	readable = `^` + dottedHost + paths + tail
	// imageID is taken for the id of an image, not for a short name.
	imageID = `^[0-9a-f]{64}$`
	// hostShaped is rewrite's test of what follows an alias.
	hostShaped = `([^/]*[.][^/]*|localhost|[^/]*_[0-9]+)/`
)

// PolicyVariables are the steps by which the policy maps the references of a
// pod: those of rewrite.Rules, in their order, over lists of equal length.
//
// It reads references by the grammar that the kubelet has, and maps those that
// it understands; the others stay, and the guard tells of them. A test holds it
// to the answers of rewrite.Rules. Variables keep the cost of each expression,
// which the API server limits, small.
func PolicyVariables(r *rewrite.Rules) []Variable {
	return []Variable{
		{"registry", fmt.Sprintf("%q", r.Registry())},
		{"host", `variables.registry.split("/")[0]`},
		{"found", `request.operation == "CREATE" ? ` + found(r, "") + " : " + found(r, podspec.EphemeralContainers)},
		{"images", fmt.Sprintf(`variables.found.filter(f, size(f.image) <= %d && (f.image.startsWith(variables.registry + "/")
  ? f.image.substring(size(variables.registry) + 1).matches("%s")
  : f.image.matches("%s") && !f.image.matches("%s")))`, longestReference, readable, mappable, imageID)},
		{"sources", `variables.images.map(f, f.image.startsWith(variables.registry + "/") ? f.image.substring(size(variables.registry) + 1) : f.image)`},
		{"names", `variables.sources.map(s, s.find("^([^/]*:[0-9]+/)?[^:@]+"))`},
		{"canonical", `variables.names.map(n,
  n.matches("^((index[.])?docker[.]io/)?[^/]*$") ? "docker.io/library/" + n.substring(n.lastIndexOf("/") + 1)
  : n.startsWith("index.docker.io/") ? n.substring(6)
  : n.matches("^(localhost/|[^/]*[.:])") ? n
  : "docker.io/" + n)`},
		{"folded", fmt.Sprintf(`variables.canonical.map(n, n.matches("^(%[1]s)/") && !n.matches("^(%[1]s)/%[2]s")
  ? "%[3]s" + n.substring(size(n.find("^(%[1]s)/")) - 1) : n)`, aliases(), hostShaped, rewrite.Aliases()[0])},
		{"paths", "variables.folded.transformList(i, f,\n" + chain(r) + ")"},
	}
}

// PolicyMutation makes the patch of the paths: it replaces texts that it has
// just read, and nothing else. JSON Patch and not an apply configuration,
// because the latter merges lists by the names of their items, of which a list
// of environment variables may have one twice.
func PolicyMutation() string {
	return `variables.paths.transformList(i, path,
  path != ""
    && size(variables.registry) + 1 + size(path) <= 255
    && size(variables.canonical[i]) - variables.canonical[i].indexOf("/") <= 256
    && (!variables.images[i].image.startsWith(variables.registry + "/") || size(variables.registry) - size(variables.host) + size(variables.names[i]) <= 255)
    && (size(path) > 1 || variables.registry.contains("/") || !(variables.registry + "/").matches("` + rewrite.ECRPattern + `"))
    && variables.registry + "/" + path + variables.sources[i].substring(size(variables.names[i])) != variables.images[i].image,
  JSONPatch{
    op: "replace",
    path: variables.images[i].path,
    value: variables.registry + "/" + path + variables.sources[i].substring(size(variables.names[i]))
  })`
}

// PolicyConditions keep the policy from pods that exist on a node already. A
// condition "has a public image" is missing on purpose: the API server calls a
// policy a second time, after the webhooks, only if it was called the first
// time, and would then miss what they inject into a pod of private images.
func PolicyConditions() []Condition {
	return []Condition{{"not-a-static-pod", `request.operation != "CREATE" || ` + notStatic()}}
}

// found is CEL for the places of the lists of a subresource: their JSON
// pointers and the texts there, empty ones included.
func found(r *rewrite.Rules, subresource string) string {
	var lists []string
	for _, l := range podspec.Lists() {
		if l.Subresource != subresource {
			continue
		}
		added := ""
		if subresource != "" { // the API server refuses a change of those that are there
			added = `oldObject.spec.?` + l.Name + `.orValue([]).exists(o, o.name == c.name) ? "" : `
		}
		lists = append(lists, fmt.Sprintf(`%s.transformList(i, c, {"path": "/spec/%s/" + string(i) + "/%s", "image": %sstring(c.?%s.orValue(""))})`,
			items(l.Name), l.Name, strings.Join(l.Image, "/"), added, strings.Join(l.Image, ".?")))
		if l.Env && len(r.EnvVars()) > 0 {
			lists = append(lists, fmt.Sprintf(`%s.transformList(i, c, c.?env.orValue([]).transformList(j, e,
      e.name in %s && e.?value.orValue("").matches("%s"),
      {"path": "/spec/%s/" + string(i) + "/env/" + string(j) + "/value", "image": string(e.value)})).flatten()`,
				items(l.Name), quoted(r.EnvVars()), rewrite.ExplicitHostPattern, l.Name))
		}
	}
	return "(\n    " + strings.Join(lists, " +\n    ") + "\n  )"
}

// chain is what rewrite.Rules.decide does once a reference has its canonical
// name: "" where it is private or kept, or else the path below the registry.
// f is the name with the aliases folded.
func chain(r *rewrite.Rules) string {
	alias := rewrite.Aliases()[0]
	layout := `(variables.canonical[i] == f && f.startsWith(variables.host + "/") ? "" : f.replace(":", "_"))`
	remainder := fmt.Sprintf(`f.substring(%d)`, len(alias)+1)
	if t := targets(r); t != "" {
		remainder = fmt.Sprintf(`(%s.matches("%s") ? %s : %[1]s)`, remainder, t, layout)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  variables.canonical[i].startsWith(variables.registry + \"/\") || variables.canonical[i].matches(\"%s|%s\") ? \"\"\n", rewrite.ECRPattern, rewrite.LoopbackPattern)
	aliased := false
	for _, e := range r.Entries() {
		if !aliased && len(e.Source) < len(alias) {
			aliased = true
			fmt.Fprintf(&b, "  : f.startsWith(\"%s/\") && !f.matches(\"^%s/%s\") ? %s\n", alias, quote(alias), hostShaped, remainder)
		}
		to := `""`
		if e.Target != "" {
			to = fmt.Sprintf(`"%s" + f.substring(%d)`, e.Target, len(e.Source))
		}
		fmt.Fprintf(&b, "  : f == \"%[1]s\" || f.startsWith(\"%[1]s/\") ? %[2]s\n", e.Source, to)
	}
	if !aliased {
		fmt.Fprintf(&b, "  : f.startsWith(\"%s/\") && !f.matches(\"^%s/%s\") ? %s\n", alias, quote(alias), hostShaped, remainder)
	}
	return b.String() + "  : " + layout
}

// aliases matches any of the alias prefixes.
func aliases() string {
	var all []string
	for _, a := range rewrite.Aliases() {
		all = append(all, quote(a))
	}
	return strings.Join(all, "|")
}

// targets matches the paths that the targets of rules take; "" without rules.
func targets(r *rewrite.Rules) string {
	var all []string
	for _, rule := range r.Config().Rules {
		all = append(all, quote(rule.Target))
	}
	if len(all) == 0 {
		return ""
	}
	return "^(" + strings.Join(all, "|") + ")(/|$)"
}
