// SPDX-License-Identifier: Apache-2.0

package cel

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// PolicyVariables are the steps in which the MutatingAdmissionPolicy maps the
// references of a pod. They follow rewrite.Rules, and a test compares the
// results. From images on, the lists have equal length: item i of each belongs to
// the same reference.
//
// References are parsed by the grammar that the kubelet uses. Those that do not
// match it are not rewritten, and the guard reports them. The API server limits
// the cost of each expression, so the work is split over variables.
func PolicyVariables(r *rewrite.Rules) []admissionregv1.Variable {
	return variables(r,
		admissionregv1.Variable{Name: "registry", Expression: `{{.Registry}}`},
		admissionregv1.Variable{Name: "host", Expression: `variables.registry.split("/")[0]`},
		// All image fields: their JSON pointers and values, empty ones included. The
		// API server rejects a change of ephemeral containers that exist already.
		admissionregv1.Variable{Name: "found", Expression: `request.operation == "CREATE" ? (
{{- range $i, $_ := .CreateLists}}{{if $i}} +{{end}}
    object.spec.?{{.Name}}.orValue([]).transformList(i, c, {"path": "/spec/{{.Name}}/" + string(i) + "/{{.Pointer}}", "image": string(c.?{{.Field}}.orValue(""))})
{{- if .Env}} +
    object.spec.?{{.Name}}.orValue([]).transformList(i, c, c.?env.orValue([]).transformList(j, e,
      e.name in {{$.EnvVars}} && e.?value.orValue("").matches("{{$.ExplicitHost}}"),
      {"path": "/spec/{{.Name}}/" + string(i) + "/env/" + string(j) + "/value", "image": string(e.value)})).flatten()
{{- end}}{{end}}
  ) : (
{{- range $i, $_ := .EphemeralLists}}{{if $i}} +{{end}}
    object.spec.?{{.Name}}.orValue([]).transformList(i, c, {"path": "/spec/{{.Name}}/" + string(i) + "/{{.Pointer}}", "image": oldObject.spec.?{{.Name}}.orValue([]).exists(o, o.name == c.name) ? "" : string(c.?{{.Field}}.orValue(""))})
{{- end}}
  )`},
		// Those that can be mapped.
		admissionregv1.Variable{Name: "images", Expression: `variables.found.filter(f, size(f.image) <= {{.MaxLength}} && (f.image.startsWith(variables.registry + "/")
  ? f.image.substring(size(variables.registry) + 1).matches("{{.Remainder}}")
  : f.image.matches("{{.Reference}}") && !f.image.matches("{{.ImageID}}")))`},
		// The references without the registry in front, and their names without tag
		// and digest.
		admissionregv1.Variable{Name: "sources", Expression: `variables.images.map(f, f.image.startsWith(variables.registry + "/") ? f.image.substring(size(variables.registry) + 1) : f.image)`},
		admissionregv1.Variable{Name: "names", Expression: `variables.sources.map(s, s.find("^([^/]*:[0-9]+/)?[^:@]+"))`},
		// The names in full: nginx as docker.io/library/nginx.
		admissionregv1.Variable{Name: "canonical", Expression: `variables.names.map(n,
  n.matches("^((index[.])?docker[.]io/)?[^/]*$") ? "docker.io/library/" + n.substring(n.lastIndexOf("/") + 1)
  : n.startsWith("index.docker.io/") ? n.substring(6)
  : n.matches("^(localhost/|[^/]*[.:])") ? n
  : "docker.io/" + n)`},
		// The names with the first alias in place of the others.
		admissionregv1.Variable{Name: "folded", Expression: `variables.canonical.map(n, n.matches("^({{.Aliases}})/") && !n.matches("^({{.Aliases}})/{{.HostShaped}}")
  ? "{{.Alias}}" + n.substring(size(n.find("^({{.Aliases}})/")) - 1) : n)`},
		// The paths below the registry, "" for a reference that is private or kept.
		// The longest prefix wins; without one, the whole name is the path.
		admissionregv1.Variable{Name: "paths", Expression: `
{{- define "prefix"}}
  : f == "{{.Prefix}}" || f.startsWith("{{.Prefix}}/") ? {{with .Target}}"{{.}}" + f.substring({{len $.Prefix}}){{else}}""{{end}}
{{- end}}
{{- define "default"}}(variables.canonical[i] == f && f.startsWith(variables.host + "/") ? "" : f.replace(":", "_")){{end -}}

variables.folded.transformList(i, f,
  variables.canonical[i].startsWith(variables.registry + "/") || variables.canonical[i].matches("{{.ECR}}|{{.Loopback}}") ? ""
{{- range .BeforeAlias}}{{template "prefix" .}}{{end}}
  : f.startsWith("{{.Alias}}/") && !f.matches("^{{.AliasPattern}}/{{.HostShaped}}") ? {{with .Targets -}}
    (f.substring({{$.AliasLength}}).matches("{{.}}") ? {{template "default"}} : f.substring({{$.AliasLength}}))
    {{- else}}f.substring({{.AliasLength}}){{end}}
{{- range .AfterAlias}}{{template "prefix" .}}{{end}}
  : {{template "default"}})`},
	)
}

// PolicyMutation is the JSON patch that replaces the images which have a path and
// a legal name in the registry. An apply configuration would not do: it merges
// lists by the names of their items, and a list of environment variables may have
// a name twice.
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

// PolicyConditions exclude static pods. There is no condition "has a public
// image": the API server calls a policy a second time, after the webhooks, only
// if it was called the first time, and would then miss what they inject into a
// pod of private images.
func PolicyConditions() []admissionregv1.MatchCondition {
	return []admissionregv1.MatchCondition{{Name: "not-a-static-pod", Expression: `request.operation != "CREATE" || ` + notStaticPod}}
}
