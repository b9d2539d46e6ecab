// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/slok/kubewebhook/v2/pkg/model"
	"github.com/slok/kubewebhook/v2/pkg/webhook"
)

// maxBody is four times the default limit of etcd for an object (1.5 MiB): an
// update has the object twice.
const maxBody = 6 << 20

// maxPooled is the size of the largest buffer that is reused, so that rare, large
// reviews do not stay in memory.
const maxPooled = 256 << 10

// handler serves admission reviews over HTTP with a kubewebhook Webhook.
type handler struct {
	webhook webhook.Webhook
	metrics *Metrics
	log     *slog.Logger
	buffers sync.Pool
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
	return newHandler(mutator{c.Patcher, c.Metrics, c.Log}, c.Metrics, c.Log), nil
}

func newHandler(w webhook.Webhook, m *Metrics, log *slog.Logger) *handler {
	return &handler{webhook: w, metrics: m, log: log, buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
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
	buffer := h.buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	defer func() {
		if buffer.Cap() <= maxPooled {
			h.buffers.Put(buffer)
		}
	}()
	if refused := read(w, r, buffer); refused != nil {
		h.refuse(w, r, *refused)
		return
	}
	answer, refused := h.answer(r.Context(), buffer.Bytes())
	if refused != nil {
		h.refuse(w, r, *refused)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(answer); err != nil {
		h.log.Warn("the response could not be sent; the API server may have timed out", "error", err)
	}
	h.metrics.duration.Observe(time.Since(start).Seconds())
}

func read(w http.ResponseWriter, r *http.Request, into *bytes.Buffer) *refusal {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &refusal{http.StatusMethodNotAllowed, "method", "send an AdmissionReview of " + reviewVersion + " by POST"}
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, "content_type", "send an AdmissionReview with Content-Type: application/json"}
	}
	if r.ContentLength > 0 && r.ContentLength <= maxBody {
		into.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := into.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &refusal{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body exceeds %d bytes", maxBody)}
	case err != nil:
		return &refusal{http.StatusBadRequest, "unreadable", "the body ended early: " + err.Error()}
	}
	return nil
}

// answer recovers panics: a bug must not reject a pod.
func (h *handler) answer(ctx context.Context, body []byte) (answer []byte, refused *refusal) {
	var uid string
	defer func() {
		if p := recover(); p != nil {
			h.metrics.panics.Inc()
			h.metrics.reviewed("other", "panic")
			h.log.Error("panic recovered, pod allowed unchanged; please report this", "uid", uid, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer, refused = h.encode(&model.MutatingAdmissionResponse{ID: uid, JSONPatchPatch: noPatch,
				Warnings: []string{"privatelink: internal error, images not rewritten; see the log of privatelink-webhook"}})
		}
	}()
	review, err := decodeReview(body)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "malformed", err.Error()}
	}
	ar := model.NewAdmissionReviewV1(review)
	uid = ar.ID
	response, err := h.webhook.Review(ctx, ar)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, "malformed", err.Error()}
	}
	return h.encode(response.(*model.MutatingAdmissionResponse))
}

func (h *handler) encode(r *model.MutatingAdmissionResponse) ([]byte, *refusal) {
	answer, err := encodeResponse(r)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, "malformed", err.Error()}
	}
	return answer, nil
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, why refusal) {
	h.metrics.rejected.WithLabelValues(why.reason).Inc()
	h.log.Warn("request refused", "status", why.status, "reason", why.text, "client", r.RemoteAddr)
	http.Error(w, why.text, why.status)
}
