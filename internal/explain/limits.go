// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const (
	// maxExpression is the number of characters that the API server's CEL parser
	// accepts. https://github.com/google/cel-go/blob/master/parser/options.go
	maxExpression = 100_000
	// maxObject is the size of an object in JSON, in bytes, of which kubectl apply
	// keeps a copy in an annotation: annotations have at most 256 KiB together.
	// https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/
	maxObject = 255 << 10
	// supportedContainers is the number of containers, each with an image and an
	// environment value, for which the cost limits must suffice.
	supportedContainers = 200
)

// CheckLimits renders the bundle of the options, and returns an error if an API
// server would refuse it, or could not evaluate it for a large pod: an expression
// is too long or does not compile, an object is too large for kubectl apply, or
// the cost exceeds a limit.
func CheckLimits(ctx context.Context, o deploy.Options) error {
	objects, err := deploy.Objects(o)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := checkSize(object, o.Rules); err != nil {
			return err
		}
	}
	b, err := New(o)
	if err != nil {
		return err
	}
	pod := largePod(o.Rules)
	r, err := b.Explain(ctx, Pod{Kind: "Pod", Name: pod.Name, Namespace: pod.Namespace, Object: pod})
	switch {
	case err != nil:
		return err
	case r.Error != "":
		return fmt.Errorf("%s: a pod of %d containers costs too much to evaluate: %s: use prefixes of fewer different depths", describe(o.Rules), supportedContainers, r.Error)
	case r.Guard.Verdict == "error":
		return fmt.Errorf("%s: a pod of %d containers costs the guard too much to evaluate: %s: use prefixes of fewer different depths", describe(o.Rules), supportedContainers, r.Guard.Message)
	}
	return nil
}

func describe(r *rewrite.Rules) string {
	c := r.Config()
	return fmt.Sprintf("%d rules and %d kept prefixes", len(c.Rules), len(c.Keep))
}

func checkSize(o runtime.Object, rules *rewrite.Rules) error {
	accessor, err := meta.Accessor(o)
	if err != nil {
		return err
	}
	name := o.GetObjectKind().GroupVersionKind().Kind + " " + accessor.GetName()
	for _, text := range expressions(o) {
		if n := utf8.RuneCountInString(text); n > maxExpression {
			return fmt.Errorf("%s: %s make an expression of %d characters, and the API server accepts %d: use fewer or shorter prefixes", name, describe(rules), n, maxExpression)
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if len(text) > maxObject {
		return fmt.Errorf("%s: %s make an object of %d bytes, and kubectl apply accepts %d: use fewer or shorter prefixes", name, describe(rules), len(text), maxObject)
	}
	return nil
}

// expressions returns the CEL expressions of an object that can have the rules.
func expressions(o runtime.Object) (all []string) {
	variables := func(of []admissionregv1.Variable) {
		for _, v := range of {
			all = append(all, v.Expression)
		}
	}
	switch o := o.(type) {
	case *admissionregv1.MutatingWebhookConfiguration:
		for _, w := range o.Webhooks {
			for _, c := range w.MatchConditions {
				all = append(all, c.Expression)
			}
		}
	case *admissionregv1.MutatingAdmissionPolicy:
		variables(o.Spec.Variables)
	case *admissionregv1.ValidatingAdmissionPolicy:
		variables(o.Spec.Variables)
	}
	return all
}

// largePod has images whose evaluation costs most: private copies in the default
// layout, which are mapped in full, with a path as long as those of real images.
func largePod(rules *rewrite.Rules) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace = "large", rules.Namespaces()[0]
	copied := rules.Registry() + "/registry.example.com/organization/team/component:v1.22.333"
	for i := range supportedContainers {
		c := corev1.Container{Name: fmt.Sprint("c-", i), Image: copied}
		for _, name := range rules.EnvVars() {
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: copied})
			break
		}
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	return pod
}
