// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// GuardName is the name of the ValidatingAdmissionPolicy and of its binding.
const GuardName = "privatelink-guard"

// Guard is what the guard does with a pod that has a public image.
type Guard string

// The choices. The guard sees the pod as it would be stored, after everything
// that changes it: an injector behind the webhook, a webhook that is away, a
// rule that is missing.
const (
	GuardWarn Guard = "warn" // warn the user and mark the audit log; the pod passes
	GuardDeny Guard = "deny" // refuse the pod, and mark the audit log
	GuardOff  Guard = "off"  // no guard in the bundle
)

// Guards are the choices, the default first.
func Guards() []Guard { return []Guard{GuardWarn, GuardDeny, GuardOff} }

// Variable is one CEL variable of an admission policy. Later ones may use
// earlier ones, and each is evaluated once at most.
type Variable struct {
	Name       string `json:"name"`
	Expression string `json:"expression"`
}

// longestReference bounds what is matched with expressions: their cost grows
// with the text, and no reference that can be mapped comes near (255 characters
// of name, 128 of tag, 136 of digest, and twice the longest registry).
const longestReference = 1024

// GuardVariables are the expressions of the guard: which public images does the
// request bring that were not in the pod before? An update that leaves the
// images alone, such as that of a finalizer, is never held up.
//
// The test of one image is that of PodConditions, so that the guard and the
// webhook's fence cannot disagree. They are written for the oldest API server
// that we support.
func GuardVariables(r *rewrite.Rules) []Variable {
	return []Variable{
		{"registry", fmt.Sprintf("%q", r.Registry())},
		{"before", "oldObject == null ? [] : (\n  " + everyImage(r, "oldObject") + "\n)"},
		{"after", everyImage(r, "object")},
		// Most updates change no image. The search in all that was before comes
		// last, since its cost grows with the square of the images.
		{"public", fmt.Sprintf("variables.after == variables.before ? [] : variables.after.map(images, images.filter(image,\n"+
			"    (size(image) > %d ||\n%s) && !variables.before.exists(b, image in b)))\n  .filter(images, size(images) > 0)",
			longestReference, public(r, "variables.registry"))},
	}
}

// GuardConditions keep the guard from static pods: they run already, and what
// the API server has of them is only their mirror.
func GuardConditions() []Condition {
	return []Condition{{"not-a-static-pod", notStatic()}}
}

func notStatic() string {
	return fmt.Sprintf("!(%q in object.metadata.?annotations.orValue({}))", podspec.MirrorPodAnnotation)
}

// everyImage is CEL for all images of a pod: a list for each of its places.
func everyImage(r *rewrite.Rules, object string) string {
	var lists []string
	for _, l := range podspec.Lists() {
		items := object + ".spec.?" + l.Name + ".orValue([])"
		lists = append(lists, "["+items+imagesOf(l)+"]")
		if l.Env && len(r.EnvVars()) > 0 {
			lists = append(lists, items+valuesOf(r.EnvVars()))
		}
	}
	return strings.Join(lists, " +\n  ")
}
