// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/slok/kubewebhook/v2/pkg/model"
	"github.com/slok/kubewebhook/v2/pkg/webhook"

	"github.com/castai/privatelink-webhook/internal/jsonscan"
)

// handler serves admission reviews over HTTP with a kubewebhook Webhook.
type handler struct {
	webhook webhook.Webhook
	metrics *Metrics
	log     *slog.Logger
	bodies  *bodies
	readers jsonscan.Pool
}

// HandlerConfig configures NewHandler. Patcher and Metrics are required.
type HandlerConfig struct {
	Patcher func() *Patcher // is called for each review, so that a reload takes effect at once
	Metrics *Metrics
	Log     *slog.Logger // default: discards
}

// NewHandler returns the handler of admission reviews, for the path /mutate. It
// returns an error if a required field is missing.
func NewHandler(c HandlerConfig) (http.Handler, error) {
	if c.Patcher == nil || c.Metrics == nil {
		return nil, errors.New("webhook handler: Patcher and Metrics are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return newHandler(mutator{c.Patcher, c.Metrics, limitRate(c.Log, reviewLinesPerSecond, reviewLinesBurst)}, c.Metrics, c.Log), nil
}

func newHandler(w webhook.Webhook, m *Metrics, log *slog.Logger) *handler {
	return &handler{webhook: w, metrics: m, log: limitRate(log, clientLinesPerSecond, clientLinesBurst), bodies: newBodies()}
}

// refusal is the response to a request that is not an admission review, such as
// one of curl, or of a wrong configuration.
type refusal struct {
	status int
	reason string // label of the metric
	text   string
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	answer, refused := h.serve(w, r)
	if refused != nil {
		h.refuse(w, r, *refused)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(answer)))
	if _, err := w.Write(answer); err != nil {
		h.log.Warn("the response could not be sent; the API server may have timed out", "error", err)
	}
	h.metrics.duration.Observe(time.Since(start).Seconds())
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if refused := checkHeader(w, r); refused != nil {
		return nil, refused
	}
	body, done, refused := h.bodies.read(w, r)
	defer done()
	if refused != nil {
		return nil, refused
	}
	return h.answer(r.Context(), body)
}

func checkHeader(w http.ResponseWriter, r *http.Request) *refusal {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &refusal{http.StatusMethodNotAllowed, "method", "send an AdmissionReview of " + reviewVersion + " by POST"}
	}
	given := r.Header.Get("Content-Type")
	if given == "application/json" {
		return nil
	}
	if t, _, err := mime.ParseMediaType(given); err != nil || t != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, "content_type", "send an AdmissionReview with Content-Type: application/json"}
	}
	return nil
}

func tooLarge() *refusal {
	return &refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body exceeds %d bytes", maxBody)}
}

// answer recovers panics: a bug must not reject a pod.
func (h *handler) answer(ctx context.Context, body []byte) (answer []byte, refused *refusal) {
	var uid string
	defer func() {
		if p := recover(); p != nil {
			h.metrics.panics.Inc()
			h.metrics.reviewed("other", "panic")
			h.log.Error("panic recovered, pod allowed unchanged; please report this", "uid", uid, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer, refused = encodeResponse(&model.MutatingAdmissionResponse{ID: uid, JSONPatchPatch: noPatch,
				Warnings: []string{"privatelink: internal error, images not rewritten: see the log of privatelink-webhook"}}), nil
		}
	}()
	review, err := decodeReview(&h.readers, body)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "malformed", err.Error()}
	}
	ar := model.NewAdmissionReviewV1(review)
	uid = ar.ID
	response, err := h.webhook.Review(ctx, ar)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, "malformed", err.Error()}
	}
	return encodeResponse(response.(*model.MutatingAdmissionResponse)), nil
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, why refusal) {
	h.metrics.rejected.WithLabelValues(why.reason).Inc()
	h.log.Warn("request refused", "status", why.status, "reason", why.text, "client", r.RemoteAddr)
	w.Header().Set("Connection", "close") // the rest of the body is not read
	http.Error(w, why.text, why.status)
}
