// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slok/kubewebhook/v2/pkg/model"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/castai/privatelink-webhook/internal/jsonscan"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
)

type fake func(context.Context, model.AdmissionReview) (model.AdmissionResponse, error)

func (fake) ID() string { return "fake" }

func (fake) Kind() model.WebhookKind { return model.WebhookKindMutating }

func (f fake) Review(ctx context.Context, r model.AdmissionReview) (model.AdmissionResponse, error) {
	return f(ctx, r)
}

func TestAPanicDoesNotRejectAPod(t *testing.T) {
	for name, bug := range map[string]fake{
		"a panic": func(context.Context, model.AdmissionReview) (model.AdmissionResponse, error) {
			panic("oh")
		},
		"a panic with nil":       func(context.Context, model.AdmissionReview) (model.AdmissionResponse, error) { panic(nil) },
		"an answer that is none": func(context.Context, model.AdmissionReview) (model.AdmissionResponse, error) { return nil, nil },
		"an answer of another kin": func(context.Context, model.AdmissionReview) (model.AdmissionResponse, error) {
			return &model.ValidatingAdmissionResponse{}, nil
		},
		"an index out of range": func(_ context.Context, r model.AdmissionReview) (model.AdmissionResponse, error) {
			return nil, errors.New(string(r.NewObjectRaw[1<<30:]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, bug)
			for uid := range 2 { // the second over the same connection and buffer
				r := e.review(t, createReview(fmt.Sprint(uid), corpus.Pods()["agent"]))
				if string(r.Patch) != "[]" || string(r.UID) != fmt.Sprint(uid) || len(r.Warnings) != 1 || len(r.Warnings[0]) >= 120 {
					t.Errorf("patch %s for %q, warnings %q", r.Patch, r.UID, r.Warnings)
				}
			}
			expectMetrics(t, e.metrics, map[string]float64{"privatelink_panics_total": 2, `privatelink_reviews_total{operation="other",result="panic"}`: 2})
			e.Close()
			if lines := logged(t, e.log); len(lines) != 2 || lines[0].Level != "ERROR" || lines[0].UID != "0" {
				t.Errorf("log: %s", e.log)
			}
			if strings.Contains(e.log.String(), "API_KEY") {
				t.Errorf("the pod is in the log: %s", e.log)
			}
		})
	}
}

func TestAPatcherThatPanicsIsCaughtInTheProductItself(t *testing.T) {
	m := NewMetrics("test")
	h, err := NewHandler(HandlerConfig{Patcher: func() *Patcher { return nil }, Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(createReview("1", corpus.Pods()["agent"])))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	if got := responseIn(t, w.Body.Bytes()); string(got.Patch) != "[]" || got.UID != "1" {
		t.Errorf("patch %s for %q", got.Patch, got.UID)
	}
	expectMetrics(t, m, map[string]float64{"privatelink_panics_total": 1})
}

func (e endpoint) raw(t *testing.T, size int, begin []byte) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", e.Listener.Addr().String(), e.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", size, begin); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestABodyThatEndsEarly(t *testing.T) {
	e := endpointOf(t, nil)
	body := createReview("1", corpus.Pods()["agent"])
	c := e.raw(t, len(body), body[:len(body)/2])
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "ended early") {
		t.Errorf("%v: %s", err, answer)
	}
	expectMetrics(t, e.metrics, map[string]float64{`privatelink_requests_rejected_total{reason="unreadable"}`: 1})
	e.review(t, body)
}

func TestAClientThatDisconnects(t *testing.T) {
	t.Run("while it sends", func(t *testing.T) {
		e, done := endpointOf(t, nil), make(chan struct{}, 1)
		inner := e.Config.Handler
		e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			done <- struct{}{}
		})
		body := createReview("1", corpus.Pods()["agent"])
		_ = e.raw(t, len(body), body[:len(body)/2]).NetConn().Close()
		<-done
		expectMetrics(t, e.metrics, map[string]float64{`privatelink_requests_rejected_total{reason="unreadable"}`: 1, "privatelink_panics_total": 0})
		e.review(t, body)
	})
	t.Run("while it waits", func(t *testing.T) {
		arrived, gone, done := make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 1)
		p := testPatcher(t)
		e := endpointOf(t, fake(func(ctx context.Context, r model.AdmissionReview) (model.AdmissionResponse, error) {
			if r.ID == "waits" {
				arrived <- struct{}{}
				<-gone
				<-ctx.Done() // the server has noticed
			}
			patch, _ := p.Create(r.NewObjectRaw)
			return &model.MutatingAdmissionResponse{ID: r.ID, JSONPatchPatch: patch}, nil
		}))
		inner := e.Config.Handler
		e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			done <- struct{}{}
		})
		body := createReview("waits", podOf(100, "busybox"))
		c := e.raw(t, len(body), body)
		<-arrived
		_ = c.NetConn().Close()
		close(gone)
		<-done
		expectMetrics(t, e.metrics, map[string]float64{"privatelink_panics_total": 0})
		e.review(t, createReview("next", corpus.Pods()["agent"]))
	})
}

// unsent is a response whose client has gone.
type unsent struct{ *httptest.ResponseRecorder }

func (unsent) Write([]byte) (int, error) { return 0, errors.New("the connection is gone") }

func TestAnAnswerThatCannotBeSentIsLogged(t *testing.T) {
	m, log := NewMetrics("test"), &journal{}
	h := newHandler(mutator{fixed(testPatcher(t)), m, slog.New(slog.DiscardHandler)}, m, slog.New(slog.NewTextHandler(log, nil)))
	r := httptest.NewRequest(http.MethodPost, "/mutate", bytes.NewReader(createReview("1", podOf(1, "busybox"))))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(unsent{httptest.NewRecorder()}, r)
	if text := log.String(); !strings.Contains(text, "the response could not be sent") || !strings.Contains(text, "the connection is gone") {
		t.Errorf("the log: %s", text)
	}
}

func TestReviewsAtOnceDoNotMixUp(t *testing.T) {
	e, p := endpointOf(t, nil), testPatcher(t)
	transport := e.Client().Transport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 50
	const callers, calls = 200, 2
	bodies, want := make([][]byte, callers), make([]string, callers)
	for i := range callers {
		n := 1 + i%20
		if i%50 == 0 {
			n = 400 // more than a pooled buffer may keep
		}
		pod := podOf(n, fmt.Sprintf("ghcr.io/castai/images/widget-%d:v1", i))
		if i%7 == 0 {
			pod = pod[:len(pod)-1] // a review that is cut short
		}
		patch, _ := p.Create(pod)
		bodies[i], want[i] = createReview(fmt.Sprintf("uid-%d", i), pod), string(patch)
	}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range calls {
				status, answer, err := e.post(bodies[i])
				// On a busy machine, the large ones find no slot, or lose it while they arrive.
				for retry := 0; (status == http.StatusServiceUnavailable || strings.Contains(string(answer), "i/o timeout")) && retry < 20; retry++ {
					status, answer, err = e.post(bodies[i])
				}
				if i%7 == 0 {
					if err != nil || status != http.StatusBadRequest {
						t.Errorf("caller %d: HTTP %d, %v: %.200s", i, status, err, answer)
					}
					continue
				}
				var got admissionv1.AdmissionReview
				if err := errors.Join(err, json.Unmarshal(answer, &got)); err != nil || got.Response == nil {
					t.Errorf("caller %d: HTTP %d, %v: %.200s", i, status, err, answer)
				} else if string(got.Response.UID) != fmt.Sprintf("uid-%d", i) || string(got.Response.Patch) != want[i] {
					t.Errorf("caller %d got the answer of another: %s, %.200s", i, got.Response.UID, got.Response.Patch)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzReview(f *testing.F) {
	pods := corpus.Pods()
	for _, name := range []string{"agent", "minimal", "workload-autoscaler", "unicode-escapes"} {
		f.Add(createReview("1", pods[name]))
	}
	r := podRequest("2", "UPDATE", "ephemeralcontainers")
	r.Object, r.OldObject = pods["ephemeral.new"], pods["ephemeral.old"]
	f.Add(review(r))
	u := podRequest("3", "UPDATE", "")
	u.Object, u.OldObject = pods["env-values"], pods["minimal"]
	f.Add(review(u))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := NewMetrics("test")
		h := newHandler(mutator{fixed(testPatcher(t)), m, slog.New(slog.DiscardHandler)}, m, slog.New(slog.DiscardHandler))
		checkDecoding(t, body)
		given := bytes.Clone(body)
		answer, refused := h.answer(t.Context(), body)
		if !bytes.Equal(given, body) {
			t.Error("the body was written to")
		}
		if refused != nil {
			if refused.status != http.StatusBadRequest || len(refused.text) > 500 {
				t.Errorf("HTTP %d: %s", refused.status, refused.text)
			}
			return
		}
		responseIn(t, answer)
		expectMetrics(t, m, map[string]float64{"privatelink_panics_total": 0})
	})
}

// checkDecoding holds that the strict decoder finds what the quick one finds.
func checkDecoding(t *testing.T, body []byte) (isQuick bool) {
	t.Helper()
	got, err := decodeQuickly(new(jsonscan.Pool), body)
	if err != nil {
		return false
	}
	want, err := decodeStrictly(body)
	if err != nil {
		t.Fatalf("decoded, but the library says %v", err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(span{})); diff != "" {
		t.Fatalf("-strictly +quickly:\n%s", diff)
	}
	return true
}

func TestReviewsAreDecodedQuickly(t *testing.T) {
	for name, pod := range corpus.Pods() {
		r := podRequest("1", "UPDATE", "")
		r.Object, r.OldObject, r.DryRun = pod, pod, true
		if !checkDecoding(t, review(r)) && name != "unicode-escapes" {
			t.Errorf("%s is left to the library", name)
		}
	}
}

func TestTheResponseIsAnAdmissionReview(t *testing.T) {
	for _, r := range []model.MutatingAdmissionResponse{
		{ID: "1", JSONPatchPatch: noPatch},
		{ID: "\"<\n\u2028é", JSONPatchPatch: []byte("[\"\xff\x00\"]"), Warnings: []string{"one", "\"two\"\n"}},
	} {
		patchType := admissionv1.PatchTypeJSONPatch
		want := &admissionv1.AdmissionResponse{UID: types.UID(r.ID), Allowed: true, Patch: r.JSONPatchPatch, PatchType: &patchType, Warnings: r.Warnings}
		if diff := cmp.Diff(want, responseIn(t, encodeResponse(&r))); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}
