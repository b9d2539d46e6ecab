// SPDX-License-Identifier: Apache-2.0

package cel

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// maxLength bounds the references that are matched with regular expressions,
// whose cost grows with the text. References that can be mapped are shorter: 255
// characters of name, 128 of tag, 136 of digest, and twice the longest registry.
const maxLength = 1024

// GuardVariables are the variables of the guard. The last one, public, has the
// public images that the request adds to the pod, so that an update of something
// else, such as a finalizer, always passes.
//
// An image is tested as PodConditions does, so the guard and the match conditions
// agree. The expressions compile on the oldest API server that is supported.
func GuardVariables(r *rewrite.Rules) []admissionregv1.Variable {
	return variables(r,
		admissionregv1.Variable{Name: "registry", Expression: `{{.Registry}}`},
		admissionregv1.Variable{Name: "before", Expression: `oldObject == null ? [] : (
  {{join " +\n  " (.Images "oldObject" .Lists)}}
)`},
		admissionregv1.Variable{Name: "after", Expression: `{{join " +\n  " (.Images "object" .Lists)}}`},
		// Most updates change no image. The search in before comes last, since its
		// cost grows with the square of the number of images.
		admissionregv1.Variable{Name: "public", Expression: `variables.after == variables.before ? [] : variables.after.map(images, images.filter(image,
    (size(image) > {{.MaxLength}} ||
{{.Public "variables.registry"}}) && !variables.before.exists(b, image in b)))
  .filter(images, size(images) > 0)`},
	)
}

// GuardConditions exclude static pods, which run already.
func GuardConditions() []admissionregv1.MatchCondition {
	return []admissionregv1.MatchCondition{{Name: "not-a-static-pod", Expression: notStaticPod}}
}
