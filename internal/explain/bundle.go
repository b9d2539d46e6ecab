// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Bundle is an install bundle with its expressions compiled. It is safe for
// concurrent use.
type Bundle struct {
	engine  deploy.Engine
	rules   *rewrite.Rules
	scanner *podspec.Scanner

	conditions []condition
	fails      bool // the failure policy is Fail
	mutation   mutator

	guard *guard
}

// guard is the ValidatingAdmissionPolicy; nil if the bundle has none.
type guard struct {
	conditions             []condition
	public, message        condition
	denies, deniesOnErrors bool
}

// New renders the bundle of the options, and compiles what the API server would
// evaluate for a new pod.
func New(o deploy.Options) (*Bundle, error) {
	if o.Engine == "" {
		o.Engine = deploy.Webhook
	}
	objects, err := deploy.Objects(o)
	if err != nil {
		return nil, err
	}
	b := &Bundle{engine: o.Engine, rules: o.Rules, scanner: podspec.NewScanner(o.Rules.EnvVars(), nil)}
	for _, object := range objects {
		if err := b.add(object); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// add compiles the expressions of an object of the bundle.
func (b *Bundle) add(o runtime.Object) error {
	switch o := o.(type) {
	case *admissionregv1.MutatingWebhookConfiguration:
		return b.webhook(o)
	case *admissionregv1.MutatingAdmissionPolicy:
		return b.policy(o)
	case *admissionregv1.ValidatingAdmissionPolicy:
		if o.Name == deploy.GuardName {
			return b.validating(o)
		}
	case *admissionregv1.ValidatingAdmissionPolicyBinding: // after its policy
		if o.Spec.PolicyName == deploy.GuardName {
			b.guard.denies = o.Spec.ValidationActions[0] == admissionregv1.Deny
		}
	}
	return nil
}

func (b *Bundle) webhook(o *admissionregv1.MutatingWebhookConfiguration) (err error) {
	c, err := newCompiler(nil)
	if err != nil {
		return err
	}
	for _, w := range o.Webhooks {
		conditions, err := c.conditions(w.MatchConditions)
		if err != nil {
			return fmt.Errorf("webhook %s: %w", w.Name, err)
		}
		if w.Rules[0].Operations[0] == admissionregv1.Create {
			b.conditions, b.fails = conditions, *w.FailurePolicy == admissionregv1.Fail
		}
	}
	return nil
}

func (b *Bundle) policy(o *admissionregv1.MutatingAdmissionPolicy) error {
	b.fails = *o.Spec.FailurePolicy == admissionregv1.Fail
	c, err := newCompiler(variables(o.Spec.Variables))
	if err == nil {
		b.conditions, err = c.conditions(o.Spec.MatchConditions)
	}
	if err == nil {
		b.mutation, err = c.mutator(o.Spec.Mutations[0].JSONPatch.Expression)
	}
	if err != nil {
		return fmt.Errorf("policy %s: %w", o.Name, err)
	}
	return nil
}

func (b *Bundle) validating(o *admissionregv1.ValidatingAdmissionPolicy) error {
	b.guard = &guard{deniesOnErrors: *o.Spec.FailurePolicy == admissionregv1.Fail}
	c, err := newCompiler(variables(o.Spec.Variables))
	if err == nil {
		b.guard.conditions, err = c.conditions(o.Spec.MatchConditions)
	}
	v := o.Spec.Validations[0]
	if err == nil {
		b.guard.public, err = c.condition(expression{"validation", v.Expression, cel.BoolType}, celconfig.RuntimeCELCostBudget)
	}
	if err == nil {
		b.guard.message, err = c.condition(expression{"message", v.MessageExpression, cel.StringType}, celconfig.RuntimeCELCostBudget)
	}
	if err != nil {
		return fmt.Errorf("policy %s: %w", o.Name, err)
	}
	return nil
}

func (c compiler) conditions(of []admissionregv1.MatchCondition) (out []condition, err error) {
	for _, m := range of {
		compiled, err := c.condition(expression{m.Name, m.Expression, cel.BoolType}, celconfig.RuntimeCELCostBudgetMatchConditions)
		if err != nil {
			return nil, err
		}
		out = append(out, compiled)
	}
	return out, nil
}

func variables(of []admissionregv1.Variable) (out []expression) {
	for _, v := range of {
		out = append(out, expression{v.Name, v.Expression, nil})
	}
	return out
}

// judge evaluates the guard for the pod.
func (b *Bundle) judge(ctx context.Context, selected bool, pod *corev1.Pod) (g Guard, err error) {
	if b.guard == nil {
		return Guard{Verdict: "absent"}, nil
	}
	if !selected {
		return Guard{Verdict: "not matched"}, nil
	}
	in, err := newInput(pod)
	if err != nil {
		return g, err
	}
	for _, c := range b.guard.conditions {
		value := c.evaluate(ctx, in)
		g.Cost += value.Cost
		if !value.Value {
			g.Verdict, g.Message = "not matched", "condition "+c.name+" is false"
			return g, nil
		}
	}
	value, cost, err := b.guard.public.value(ctx, in)
	g.Cost += cost
	switch {
	case err != nil:
		g.Verdict, g.Message = "error", err.Error()
		if b.guard.deniesOnErrors {
			g.Verdict = "denies"
		}
		return g, nil
	case value == true:
		g.Verdict = "passes"
		return g, nil
	}
	if g.Verdict = "warns"; b.guard.denies {
		g.Verdict = "denies"
	}
	message, cost, err := b.guard.message.value(ctx, in)
	g.Cost += cost
	if g.Message, _ = message.(string); err != nil || strings.TrimSpace(g.Message) == "" {
		g.Message = "privatelink: the pod has a public image"
	}
	return g, nil
}

// apply applies a JSON patch as the API server does.
func apply(pod, patch []byte) (*corev1.Pod, error) {
	ops, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	after, err := ops.Apply(pod)
	if err != nil {
		return nil, err
	}
	var out corev1.Pod
	return &out, json.Unmarshal(after, &out)
}
