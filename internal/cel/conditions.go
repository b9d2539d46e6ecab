// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"fmt"
	"slices"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// PodConditions are the match conditions of the webhook for pods: the API server
// calls it only for a pod that is created with a public image, and for an update
// that sets one. They limit the blast radius of failurePolicy Fail.
//
// They test "is not private" instead of "is known to be public": an unexpected
// spelling then costs a call that the webhook answers with an empty patch,
// whereas a list of public prefixes would let a pod through unmapped. Every pod
// that the webhook would patch is sent to it; a test asserts this.
func PodConditions(r *rewrite.Rules) []admissionregv1.MatchCondition {
	const condition = `changed.exists(item, item.exists(i, [i[3]].exists(image,
    %s)
  && !before.exists(item, i in item)))`
	variables := slices.Concat(Data(r), host(), imageVariables(listsOf("")))
	return []admissionregv1.MatchCondition{
		{Name: "has-public-image", Expression: bind(variables, fmt.Sprintf(condition, isPublic()))},
		{Name: "not-a-static-pod", Expression: notStaticPod},
	}
}

// EphemeralConditions are those for an update of pods/ephemeralcontainers, where
// only the containers that the update adds are tested.
func EphemeralConditions(r *rewrite.Rules) []admissionregv1.MatchCondition {
	const condition = `object.spec.?ephemeralContainers.orValue([])
  .filter(c, !oldObject.spec.?ephemeralContainers.orValue([]).exists(o, o.name == c.name))
  .map(c, c.?image.orValue("")).exists(image,
    %s)`
	return []admissionregv1.MatchCondition{
		{Name: "has-public-image", Expression: bind(slices.Concat(Data(r), host()), fmt.Sprintf(condition, isPublic()))},
		{Name: "not-a-static-pod", Expression: notStaticPod},
	}
}

// host is the variable that has the registry's host.
func host() []admissionregv1.Variable {
	return []admissionregv1.Variable{{Name: "host", Expression: `variables.registry.split("/")[0]`}}
}
