// SPDX-License-Identifier: Apache-2.0

package cel

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// PodConditions are the match conditions of the webhook for the creation of
// pods: the API server calls it only for pods with a public image. They limit
// the blast radius of failurePolicy Fail.
//
// They test "is not private" instead of "is known to be public": an unexpected
// spelling then costs a call that the webhook answers with an empty patch,
// whereas a list of public prefixes would let a pod through unmapped. Every pod
// that the webhook would patch is sent to it; a test asserts this.
//
// Match conditions have no variables, so exists binds the registry, which the
// bundle then replaces in one place.
func PodConditions(r *rewrite.Rules) []admissionregv1.MatchCondition {
	return conditions(r,
		admissionregv1.MatchCondition{Name: "has-public-image", Expression: `[{{.Registry}}].exists(registry,
  (
    {{join " +\n    " (.Images "object" .CreateLists)}}
  ).exists(images, images.exists(image,
{{.Public "registry"}})))`},
		admissionregv1.MatchCondition{Name: "not-a-static-pod", Expression: notStaticPod},
	)
}

// EphemeralConditions are those for an update of pods/ephemeralcontainers, where
// only the containers that the update adds are tested.
func EphemeralConditions(r *rewrite.Rules) []admissionregv1.MatchCondition {
	return conditions(r, admissionregv1.MatchCondition{Name: "new-public-image", Expression: `[{{.Registry}}].exists(registry,
  {{with index .EphemeralLists 0}}object.spec.?{{.Name}}.orValue([])
    .filter(c, !oldObject.spec.?{{.Name}}.orValue([]).exists(o, o.name == c.name))
    .map(c, c.?{{.Field}}.orValue("")).exists(image,{{end}}
{{.Public "registry"}}))`})
}
