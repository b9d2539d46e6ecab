// SPDX-License-Identifier: Apache-2.0

// Package webhook implements the mutating admission webhook: it computes a JSON
// patch of the image references of a pod, and serves admission reviews over HTTPS.
//
// It uses kubewebhook's Webhook interface and review model, but computes the patch
// itself: kubewebhook's typed webhooks decode the pod into Go types and compare the
// result, which deletes every field that those types do not have
// (docs/adr/0001-patch-by-hand.md).
package webhook

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/slok/kubewebhook/v2/pkg/model"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/castai/privatelink-webhook/internal/podspec"
)

// mutator implements kubewebhook's Webhook.
type mutator struct {
	patcher func() *Patcher
	metrics *Metrics
	log     *slog.Logger
}

func (mutator) ID() string              { return "privatelink" }
func (mutator) Kind() model.WebhookKind { return model.WebhookKindMutating }

// Review never rejects a pod. A review that it cannot handle is allowed unchanged
// and logged: the API server would turn an error into a rejection.
func (m mutator) Review(ctx context.Context, ar model.AdmissionReview) (model.AdmissionResponse, error) {
	v1, ok := ar.OriginalAdmissionReview.(*admissionv1.AdmissionReview) // the model has no subresource
	if !ok {
		return nil, fmt.Errorf("admission review %T: only v1 is offered", ar.OriginalAdmissionReview)
	}
	operation, patch, report := m.review(v1.Request, ar)
	result := m.observe(operation, report)
	m.write(ctx, ar, result, report)
	response := &model.MutatingAdmissionResponse{ID: ar.ID, JSONPatchPatch: patch}
	if w := report.Warning(); w != "" {
		response.Warnings = []string{w}
	}
	return response, nil
}

func (m mutator) review(r *admissionv1.AdmissionRequest, ar model.AdmissionReview) (operation string, patch []byte, report Report) {
	pods := r.Resource.Group == "" && r.Resource.Resource == "pods"
	switch {
	case pods && r.SubResource == "" && ar.Operation == model.OperationCreate:
		patch, report = m.patcher().Create(ar.NewObjectRaw)
		return "create", patch, report
	case pods && r.SubResource == "" && ar.Operation == model.OperationUpdate:
		patch, report = m.patcher().Update(ar.NewObjectRaw, ar.OldObjectRaw)
		return "update", patch, report
	case pods && r.SubResource == podspec.EphemeralContainers && ar.Operation == model.OperationUpdate:
		patch, report = m.patcher().UpdateEphemeral(ar.NewObjectRaw, ar.OldObjectRaw)
		return "ephemeral", patch, report
	}
	return "other", noPatch, Report{Skipped: skippedOperation}
}

func (m mutator) observe(operation string, report Report) (result string) {
	result = "unchanged"
	switch {
	case report.Skipped != "":
		result = "skipped"
	case report.Changed() > 0:
		result = "rewritten"
	}
	m.metrics.reviewed(operation, result)
	for _, c := range report.Images {
		m.metrics.image(c.Result)
	}
	return result
}

// write logs one line for a review: at WARN if it was skipped, at INFO if a
// reference was rewritten or could not be mapped, else at DEBUG. Pods, patches and
// values of environment variables that are not image references are never logged.
func (m mutator) write(ctx context.Context, ar model.AdmissionReview, result string, report Report) {
	level, lines := slog.LevelDebug, sourcesAndTargets(report)
	switch {
	case result == "skipped":
		level = slog.LevelWarn
	case len(lines) > 0: // controllers do not show warnings
		level = slog.LevelInfo
	}
	if !m.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("uid", cut(ar.ID, 300)), slog.String("namespace", cut(ar.Namespace, 300)), slog.String("pod", cut(report.Pod, 300)),
		slog.Int("count", report.Changed()), slog.Bool("dryRun", ar.DryRun),
	}
	switch {
	case report.Err != nil:
		attrs = append(attrs, slog.String("reason", cut(report.Err.Error(), 300))) // it may quote long keys
	case report.Skipped != "":
		attrs = append(attrs, slog.String("reason", report.Skipped))
	}
	m.log.LogAttrs(ctx, level, "images "+result, append(attrs, slog.Any("images", lines))...)
}

// line is one image in the log.
type line struct {
	Location string `json:"location"`
	Source   string `json:"source"`
	Target   string `json:"target,omitempty"`
	Unmapped string `json:"unmapped,omitempty"` // the reason
}

// maxLogged is about the maximum size, in bytes, of the images in a log line. The
// count is of all.
const maxLogged = 16 << 10

func sourcesAndTargets(report Report) (lines []line) {
	size := 0
	for _, c := range report.Images {
		if size > maxLogged {
			break
		}
		if c.Changed() || c.Reason != "" {
			l := lineOf(c)
			size += len(l.Location) + len(l.Source) + len(l.Target)
			lines = append(lines, l)
		}
	}
	return lines
}

func lineOf(c Change) line {
	l := line{Location: cut(c.Location(), 300), Source: cut(c.Source, 300), Unmapped: string(c.Reason)}
	switch {
	case c.Changed():
		l.Source, l.Target = c.Source, c.Target
	case c.EnvIndex >= 0:
		l.Source = "(not shown)"
	}
	return l
}
