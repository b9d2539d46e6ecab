// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// The grammar of references that can be mapped, as regular expressions (RE2):
// https://github.com/distribution/reference, with the host in lower case.
const (
	component = `[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*` // of a path
	undotted  = `[a-z0-9]+((_|__|-+)[a-z0-9]+)*`    // the same, if it cannot be a host
	label     = `[a-z0-9]+(-+[a-z0-9]+)*`           // of a host name
	path      = `(/` + component + `)+`

	dottedHost = label + `([.]` + label + `)+`
	anyHost    = label + `(([.]` + label + `)+(:[0-9]+)?|:[0-9]+)`

	// namePart is the part of a reference before tag and digest.
	namePart = `^([^/]*:[0-9]+/)?[^:@]+`
	// legalName has a host, or is on Docker Hub with or without an organization.
	legalName = `^(` + anyHost + path + `|` + undotted + path + `|` + component + `)$`
	// legalSuffix is a tag, a digest, both or neither.
	legalSuffix = `^(:[0-9A-Za-z_][0-9A-Za-z_.-]{0,127})?(@(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}))?$`
	// imageID is read as the ID of an image, not as a short name.
	imageID = `^[0-9a-f]{64}$`
	// hostShaped is a path that begins like a host, as package rewrite tests it.
	hostShaped = `^([^/]*[.][^/]*|localhost|[^/]*_[0-9]+)/`
)

// maxLength bounds the references that are matched with regular expressions,
// whose cost grows with the text. References that can be mapped are shorter: 255
// characters of name, 128 of tag, 136 of digest, and twice the longest registry.
const maxLength = 1024

// isPublic tests the variable image: whether it has another name in the registry.
// Unknown spellings count as public.
func isPublic() string {
	return fmt.Sprintf(`!(image in ["", "%s"]) && (size(image) > %d ||
    [image.find("%s")].exists(name,
    [%s].exists(repository,
    [%s].exists(path,
      path != "" && variables.registry + "/" + path != name))))`,
		rewrite.Placeholder, maxLength, namePart, canonical("name", "     "), mapped("     "))
}

// canonical returns a name in full: nginx is docker.io/library/nginx.
func canonical(name, indent string) string {
	return strings.NewReplacer("NAME", name, "\n", "\n"+indent).Replace(
		`NAME.matches("^((index[.])?docker[.]io/)?[^/]*$") ? "docker.io/library/" + NAME.substring(NAME.lastIndexOf("/") + 1)
: NAME.startsWith("index.docker.io/") ? NAME.substring(6)
: NAME.matches("^(localhost/|[^/]*[.:])") ? NAME
: "docker.io/" + NAME`)
}

// mapped returns the path below the registry of the variable repository, a name
// in full, or "" if it is private or kept. It follows rewrite.Rules.
//
// Below the registry, the rest of the name is mapped if it names a host, which is
// the form that the charts make of their global.registry value. The longest
// prefix wins. An alias, a prefix under which the vendor publishes the same
// images again, wins over shorter prefixes, but must not write to the target of a
// rule. All other names are paths below the registry, with "_" before a port.
//
// The cost of a regular expression grows with its length, so that cheaper tests
// precede the long ones.
func mapped(indent string) string {
	aliases, quoted := rewrite.Aliases(), []string{}
	for _, a := range aliases {
		quoted = append(quoted, literal(a+"/"))
	}
	return strings.NewReplacer(
		"\n", "\n"+indent,
		"ALIASES", strings.Join(quoted, ", "), "ALIAS", quoted[0], "LENGTH", fmt.Sprint(len(aliases[0])),
		"HOSTSHAPED", hostShaped, "DOTTED", "^"+dottedHost+"/", "ECR", rewrite.ECRPattern, "LOOPBACK", rewrite.LoopbackPattern,
		"CANONICAL", canonical("rest", indent+"  "), "PREFIX(folded)", prefix("folded"), "PREFIX(tail)", prefix("tail"),
	).Replace(`[repository.startsWith(variables.registry + "/") ? repository.substring(size(variables.registry) + 1) : repository].map(rest,
rest != repository && !rest.matches("DOTTED") ? "" :
[!rest.contains("docker.io/") ? rest : CANONICAL].map(full,
full.startsWith(variables.registry + "/")
  || full.contains(".dkr") && full.matches("ECR")
  || ["localhost", "127.", "[::1]"].exists(p, full.startsWith(p)) && full.matches("LOOPBACK") ? "" :
[[ALIASES].filter(a, full != a && full.startsWith(a) && !full.substring(size(a)).matches("HOSTSHAPED"))].map(alias,
[size(alias) == 0 ? "" : full.substring(size(alias[0]))].map(tail,
[size(alias) == 0 ? full : ALIAS + tail].map(folded,
[variables.depths.map(d, PREFIX(folded)).filter(p, p in variables.sources && (size(alias) == 0 || size(p) >= LENGTH))].map(found,
  size(found) > 0 ? (variables.sources[found[0]] == "" ? "" : variables.sources[found[0]] + folded.substring(size(found[0])))
  : size(alias) > 0 && !variables.depths.exists(d, (PREFIX(tail)) in variables.targets) ? tail
  : folded == full && full.startsWith(variables.host + "/") ? ""
  : folded.replace(":", "_"))[0])[0])[0])[0])[0])[0]`)
}

// prefix returns the first d parts of a path; a shorter path as it is.
func prefix(path string) string {
	return strings.ReplaceAll(`size(PATH.split("/", d + 1)) > d ? PATH.substring(0, size(PATH) - size(PATH.split("/", d + 1)[d]) - 1) : PATH`, "PATH", path)
}
