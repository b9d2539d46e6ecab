// SPDX-License-Identifier: Apache-2.0

// Package cel generates the CEL expressions of the install bundle from the
// rewrite rules: the match conditions of the webhook, the MutatingAdmissionPolicy
// that can replace it, and the guard, a ValidatingAdmissionPolicy.
//
// Each expression is a text/template that reads as CEL. Its holes are filled
// with literals: names, regular expressions and lengths that follow from the
// rules. Optional fields are read as .?field.orValue(...), because an expression
// that fails rejects the pod under failurePolicy Fail.
//
// This package only makes text. Package explain compiles and evaluates it with
// the libraries of the API server.
package cel

import (
	"fmt"
	"strings"
	"text/template"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// notStaticPod excludes the API object that mirrors a static pod. Changing it
// changes nothing: the pod runs from a file on the node.
const notStaticPod = `!("` + podspec.MirrorPodAnnotation + `" in object.metadata.?annotations.orValue({}))`

// isPublic tests the variable image. Below the registry, a reference is public if
// the rules map it from there, as the charts' global.registry form. Elsewhere
// every reference is, except those to a private ECR, to a registry on the node,
// to the host of a registry that is not ECR, and those that the rules keep.
// {{.Var}} is the CEL name of the registry.
const isPublic = `      image != "" && (image.startsWith({{.Var}} + "/")
        ? (image.substring(size({{.Var}}) + 1).matches("{{.Mapped}}")
          || image.substring(size({{.Var}}) + 1).matches("^({{.Aliases}})/") && !image.substring(size({{.Var}}) + 1).matches("{{.NotMapped}}"))
        : !image.matches("{{.ECR}}|{{.Loopback}}")
          && {{if .OnOwnHost}}({{end}}!image.startsWith({{.Var}}.split("/")[0] + "/"){{with .OnOwnHost}} || image.matches("{{.}}")){{end}}
{{- with .Kept}}
          && !(image.matches("{{.}}"){{with $.OverKept}} && !image.matches("{{.}}"){{end}})
{{- end}})`

// imagesOf are the lists of images in one list of a pod spec: its image fields,
// and its listed environment variables where it has such.
const (
	imagesOf    = `[{{.Object}}.spec.?{{.List.Name}}.orValue([]).map(c, c.?{{.List.Field}}.orValue(""))]`
	envImagesOf = `{{.Object}}.spec.?{{.List.Name}}.orValue([]).map(c, c.?env.orValue([])
      .filter(e, e.name in {{.EnvVars}} && e.?value.orValue("").matches("{{.ExplicitHost}}"))
      .map(e, e.value))`
)

// Public is isPublic with the CEL name of the registry.
func (l literals) Public(registry string) string {
	return fill(isPublic, struct {
		literals
		Var string
	}{l, registry})
}

// Images are the lists of images of the lists of the object's spec.
func (l literals) Images(object string, lists []list) (out []string) {
	for _, of := range lists {
		data := struct {
			literals
			Object string
			List   list
		}{l, object, of}
		out = append(out, fill(imagesOf, data))
		if of.Env {
			out = append(out, fill(envImagesOf, data))
		}
	}
	return out
}

func conditions(r *rewrite.Rules, templates ...admissionregv1.MatchCondition) []admissionregv1.MatchCondition {
	for i, l := 0, newLiterals(r); i < len(templates); i++ {
		templates[i].Expression = fill(templates[i].Expression, l)
	}
	return templates
}

func variables(r *rewrite.Rules, templates ...admissionregv1.Variable) []admissionregv1.Variable {
	for i, l := 0, newLiterals(r); i < len(templates); i++ {
		templates[i].Expression = fill(templates[i].Expression, l)
	}
	return templates
}

// fill fills the holes of a template. The templates are constants, and no rule
// makes one fail, so an error is a fault of this package.
func fill(text string, data any) string {
	var out strings.Builder
	join := func(separator string, parts []string) string { return strings.Join(parts, separator) }
	parsed, err := template.New("").Funcs(template.FuncMap{"join": join}).Parse(text)
	if err == nil {
		err = parsed.Execute(&out, data)
	}
	if err != nil {
		panic(fmt.Sprintf("cel: template %q: %v", text, err))
	}
	return out.String()
}
