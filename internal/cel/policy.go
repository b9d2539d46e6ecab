// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"fmt"
	"slices"
	"strings"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
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
	return slices.Concat(Data(r), host(), imageVariables(podspec.Lists()), []admissionregv1.Variable{
		// The image fields that the request sets: their JSON pointers and values.
		{Name: "found", Expression: fmt.Sprintf(`size(variables.changed) == 0 ? [] : (request.?subResource.orValue("") == "%s" ? [
  %s
  ].flatten() : [
  %s
  ].flatten()).filter(f, oldObject == null || [[f.list, f.item, f.env, f.image]].exists(i,
    variables.changed.exists(item, i in item) && !variables.before.exists(item, i in item)))`,
			podspec.EphemeralContainers, fieldsOf(listsOf(podspec.EphemeralContainers)), fieldsOf(listsOf("")))},
		// Those that can be mapped.
		{Name: "images", Expression: fmt.Sprintf(`variables.found.filter(f, size(f.image) <= %d && f.image != "%s"
  && !(size(f.image) == 64 && f.image.matches("%s"))
  && [f.image.find("%s")].exists(name,
    name.matches("%s")
    && f.image.substring(size(name)).matches("%s")))`, maxLength, rewrite.Placeholder, imageID, namePart, legalName, legalSuffix)},
		// Their names without tag and digest, as they are written and in full.
		{Name: "names", Expression: `variables.images.map(f, f.image.find("` + namePart + `"))`},
		{Name: "repositories", Expression: "variables.names.map(name,\n  " + canonical("name", "  ") + ")"},
		// The paths below the registry, "" for a reference that is private or kept.
		{Name: "paths", Expression: "variables.repositories.map(repository,\n  " + mapped("  ") + ")"},
	})
}

// fieldsOf returns the image fields in the object's lists.
func fieldsOf(lists []podspec.List) string {
	var all []string
	for _, l := range lists {
		field := fmt.Sprintf(`{"path": "/spec/%s/" + string(i) + "/%s", "list": "%[1]s", "item": string(c.name), "env": "", "image": string(c.?%[3]s.orValue(""))}`,
			l.Name, strings.Join(l.Image, "/"), strings.Join(l.Image, ".?"))
		all = append(all, fmt.Sprintf("  object.spec.?%s.orValue([]).transformList(i, c, %s)", l.Name, field))
		if l.Env {
			all = append(all, fmt.Sprintf(`  object.spec.?%s.orValue([]).transformList(i, c, c.?env.orValue([]).transformList(j, e,
      %s,
      {"path": "/spec/%[1]s/" + string(i) + "/env/" + string(j) + "/value", "list": "%[1]s", "item": string(c.name), "env": string(e.name), "image": string(e.value)})).flatten()`,
				l.Name, isListed))
		}
	}
	return strings.Join(all, ",\n  ")
}

// PolicyMutation is the JSON patch that replaces the images which have a path and
// a legal name in the registry. An apply configuration would not do: it merges
// lists by the names of their items, and a list of environment variables may have
// a name twice.
func PolicyMutation() string {
	return `variables.paths.transformList(i, path,
  path != ""
    && variables.registry + "/" + path != variables.names[i]
    && size(variables.registry) + 1 + size(path) <= 255
    && size(variables.repositories[i]) - variables.repositories[i].indexOf("/") <= 256
    && (size(path) > 1 || variables.registry.contains("/") || !(variables.registry + "/").matches("` + rewrite.ECRPattern + `")),
  JSONPatch{
    op: "replace",
    path: variables.images[i].path,
    value: variables.registry + "/" + path + variables.images[i].image.substring(size(variables.names[i]))
  })`
}

// PolicyConditions exclude static pods. There is no condition "has a public
// image": the API server calls a policy a second time, after the webhooks, only
// if it was called the first time, and would then miss what they inject into a
// pod of private images.
func PolicyConditions() []admissionregv1.MatchCondition {
	return []admissionregv1.MatchCondition{{Name: "not-a-static-pod", Expression: notStaticPod}}
}
