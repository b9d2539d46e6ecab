// SPDX-License-Identifier: Apache-2.0

package cel

import (
	"fmt"
	"slices"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// GuardVariables are the variables of the guard. The last one, public, has the
// public images that the request sets, by container or volume, so that an update of
// something else, such as a finalizer, always passes. For an image, see imagesOf.
//
// An image is tested as PodConditions does, so the guard and the match conditions
// agree. The expressions compile on the oldest API server that is supported.
func GuardVariables(r *rewrite.Rules) []admissionregv1.Variable {
	const public = `variables.changed.map(item, item.filter(i, [i[3]].exists(image,
    %s)
  && !variables.before.exists(item, i in item)))
  .filter(images, size(images) > 0)`
	return slices.Concat(Data(r), host(), imageVariables(podspec.Lists()), []admissionregv1.Variable{
		{Name: "public", Expression: fmt.Sprintf(public, isPublic())},
	})
}

// GuardConditions exclude static pods, which run already.
func GuardConditions() []admissionregv1.MatchCondition {
	return []admissionregv1.MatchCondition{{Name: "not-a-static-pod", Expression: notStaticPod}}
}
