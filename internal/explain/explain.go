// SPDX-License-Identifier: Apache-2.0

// Package explain evaluates the admission rules against pods, offline.
//
// It renders the install bundle, and evaluates the expressions in it with the API
// server's CEL libraries and cost limits, so a report has the result that the API
// server would give. Pods are evaluated as on creation, without the changes that
// other webhooks would make.
package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/webhook"
)

// Report is the result of the evaluation for one pod.
type Report struct {
	Pod
	Engine deploy.Engine `json:"engine"`
	// Selected is true if the rules apply to the pod's namespace.
	Selected bool `json:"selected"`
	// Unselected are the public images of a pod whose namespace is not selected.
	Unselected []string `json:"unselected,omitempty"`
	// Conditions are the match conditions of the engine. All must hold.
	Conditions []Condition `json:"conditions,omitempty"`
	// Error is an expression that failed; the failure policy then decides.
	Error   string `json:"error,omitempty"`
	Refused bool   `json:"refused,omitempty"`
	// Images are all image fields of the pod, in its order.
	Images []ImageField    `json:"images"`
	Patch  json.RawMessage `json:"patch"`
	Guard  Guard           `json:"guard"`
	// Cost is that of the engine's expressions, in units of the API server. The
	// limit is a million for each, and ten millions for a policy.
	Cost int64 `json:"cost"`
}

// Condition is one match condition and its value for the pod.
type Condition struct {
	Name  string `json:"name"`
	Value bool   `json:"value"`
	Error string `json:"error,omitempty"`
	Cost  int64  `json:"cost"`
}

// ImageField is one image field of a pod. Source is its value in the manifest,
// and Target the one that the pod would be stored with.
type ImageField struct {
	Location string          `json:"location"`
	Path     string          `json:"path"`
	Source   string          `json:"source"`
	Target   string          `json:"target"`
	Outcome  rewrite.Outcome `json:"outcome"`
	Reason   rewrite.Reason  `json:"reason,omitempty"`
	Rule     string          `json:"rule"`
}

// Guard is the result of the guard for the pod as it would be stored.
type Guard struct {
	// Verdict is "absent" without a guard in the bundle, "not matched" for a pod
	// that it does not match, "passes", "warns", "denies", or "error".
	Verdict string `json:"verdict"`
	Message string `json:"message,omitempty"`
	Cost    int64  `json:"cost"`
}

// NeedsAction reports whether the pod would be stored with a public image, as far
// as can be determined, or refused: by the engine, the guard, or for a field that
// does not exist, which kubectl refuses by default.
func (r Report) NeedsAction() bool {
	return r.Refused || len(r.Unselected) > 0 || len(r.Warnings) > 0 || slices.Contains([]string{"warns", "denies", "error"}, r.Guard.Verdict)
}

// Explain evaluates the rules for the pod, unless it has a fault.
func (b *Bundle) Explain(ctx context.Context, p Pod) (Report, error) {
	r := Report{Pod: p, Engine: b.engine, Selected: b.rules.Selects(p.Namespace, p.NamespaceLabels), Images: []ImageField{}, Patch: json.RawMessage("[]")}
	if p.Fault != "" {
		return r, nil
	}
	raw, err := json.Marshal(p.Object)
	if err != nil {
		return r, err
	}
	seen, err := b.scanner.Scan(raw)
	if err != nil {
		return r, fmt.Errorf("%s: %w", p, err)
	}
	final := p.Object
	if r.Selected {
		if final, err = b.run(ctx, &r, raw); err != nil {
			return r, fmt.Errorf("%s: %w", p, err)
		}
	}
	if r.Images, err = b.images(seen, final); err != nil {
		return r, err
	}
	if !r.Selected {
		r.unselect()
	}
	r.Guard, err = b.judge(ctx, r.Selected, final)
	return r, err
}

// unselect describes the images of a pod in a namespace that is not selected.
func (r *Report) unselect() {
	for i, image := range r.Images {
		isValue := image.Reason == rewrite.NoHost // an environment value that is no image
		if image.Outcome != rewrite.Unmapped || isValue {
			continue
		}
		r.Images[i].Rule = "not rewritten: the namespace is not selected"
		r.Unselected = append(r.Unselected, image.Source)
	}
}

// run evaluates the engine, and returns the pod that comes out.
func (b *Bundle) run(ctx context.Context, r *Report, raw []byte) (*corev1.Pod, error) {
	in, err := newInput(r.Object)
	if err != nil {
		return nil, err
	}
	called := true
	for _, c := range b.conditions {
		value := c.evaluate(ctx, in)
		r.Conditions = append(r.Conditions, value)
		r.Cost += value.Cost
		if value.Error != "" {
			r.Error = value.Error
		}
		called = called && value.Value
	}
	switch {
	case r.Error != "" && !slices.ContainsFunc(r.Conditions, func(c Condition) bool { return !c.Value && c.Error == "" }):
		r.Refused = b.fails
		return r.Object, nil
	case !called:
		return r.Object, nil
	case b.engine == deploy.Webhook:
		patch, _ := webhook.NewPatcher(b.rules).Create(raw)
		r.Patch = patch
	default:
		patch, cost, err := b.mutation.patch(ctx, in)
		r.Cost += cost
		if err != nil {
			r.Error, r.Refused = err.Error(), b.fails
			return r.Object, nil
		}
		r.Patch = patch
	}
	return apply(raw, r.Patch)
}

// images returns every image field with the result of the rules and its final
// value.
func (b *Bundle) images(before podspec.Pod, final *corev1.Pod) ([]ImageField, error) {
	raw, err := json.Marshal(final)
	if err != nil {
		return nil, err
	}
	after, err := b.scanner.Scan(raw)
	if err != nil {
		return nil, err
	}
	now := map[string]string{}
	for _, i := range after.Images {
		now[i.Pointer()] = i.Value
	}
	out := make([]ImageField, 0, len(before.Images))
	for _, i := range before.Images {
		result := b.rules.Image(i.Value)
		if i.EnvIndex >= 0 {
			result = b.rules.EnvValue(i.Value)
		}
		image := ImageField{Location: i.Location(), Path: i.Pointer(), Source: i.Value, Target: now[i.Pointer()], Outcome: result.Outcome, Reason: result.Reason, Rule: result.Rule}
		if result.Changed() && image.Target == image.Source {
			image.Outcome, image.Rule = rewrite.Unmapped, "not rewritten, although it would be by "+result.Rule
		}
		out = append(out, image)
	}
	return out, nil
}
