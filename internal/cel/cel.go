// SPDX-License-Identifier: Apache-2.0

// Package cel generates the CEL expressions of the install bundle: the match
// conditions of the webhook, the MutatingAdmissionPolicy that can replace it, and
// the guard, a ValidatingAdmissionPolicy.
//
// The expressions are constant. The configuration enters as data, in variables
// whose expressions are JSON, which is also CEL: see Data. So the text that
// evaluates an image is the same in every bundle, and any template language that
// writes JSON can fill in the data.
//
// Optional fields are read as .?field.orValue(...), because an expression that
// fails rejects the pod under failurePolicy Fail. CEL has no local variables:
// [value].map(name, expression)[0] and [value].exists(name, condition) name a
// value.
//
// This package only makes text. Package explain compiles and evaluates it with
// the libraries of the API server.
package cel

import (
	"fmt"
	"strings"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// notStaticPod excludes the API object that mirrors a static pod. Changing it
// changes nothing: the pod runs from a file on the node.
const notStaticPod = `!("` + podspec.MirrorPodAnnotation + `" in object.metadata.?annotations.orValue({}))`

// imagesOf returns the images in an object's lists: a list of items, which are
// containers and volumes, and of each its image and its listed environment
// values. An image is the list of the pod spec, the names of item and variable,
// and the value, so that two objects can be compared by name.
func imagesOf(object string, lists []podspec.List) string {
	var all []string
	for _, l := range lists {
		text := fmt.Sprintf(`%s.spec.?%s.orValue([]).map(c, [["%[2]s", string(c.name), "", string(c.?%[3]s.orValue(""))]]`, object, l.Name, strings.Join(l.Image, ".?"))
		if l.Env {
			text += fmt.Sprintf(` + c.?env.orValue([])
    .filter(e, %s)
    .map(e, ["%s", string(c.name), string(e.name), string(e.value)])`, isListed, l.Name)
		}
		all = append(all, text+")")
	}
	return strings.Join(all, " +\n  ")
}

// isListed tests the environment variable e.
const isListed = `e.name in variables.envVars && e.?value.orValue("").matches("` + rewrite.ExplicitHostPattern + `")`

// imageVariables are the images before and after the request, and the items that
// it sets: on creation all, else those that the old object does not have with the
// same names and values. Most updates set none, and the first comparison is
// cheap; the second grows with the square of the number of items.
func imageVariables(lists []podspec.List) []admissionregv1.Variable {
	return []admissionregv1.Variable{
		{Name: "before", Expression: "oldObject == null ? [] : (\n  " + imagesOf("oldObject", lists) + ")"},
		{Name: "after", Expression: imagesOf("object", lists)},
		{Name: "changed", Expression: `variables.after == variables.before ? [] : variables.after.filter(item, !(item in variables.before))`},
	}
}

// bind names the variables in a condition: match conditions have none.
func bind(variables []admissionregv1.Variable, condition string) string {
	var out strings.Builder
	for _, v := range variables {
		fmt.Fprintf(&out, "[%s].exists(%s,\n", v.Expression, v.Name)
	}
	out.WriteString(condition + strings.Repeat(")", len(variables)))
	return strings.ReplaceAll(out.String(), "variables.", "")
}

func listsOf(subresource string) (lists []podspec.List) {
	for _, l := range podspec.Lists() {
		if l.Subresource == subresource {
			lists = append(lists, l)
		}
	}
	return lists
}
