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
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slok/kubewebhook/v2/pkg/model"
	"github.com/slok/kubewebhook/v2/pkg/webhook"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/castai/privatelink-webhook/rewrite"
	"github.com/castai/privatelink-webhook/test/corpus"
)

// endpoint is a handler behind HTTPS, with what it counted and logged.
type endpoint struct {
	*httptest.Server
	metrics *Metrics
	log     *journal
}

// endpointOf serves the product's handler, or another kubewebhook Webhook in it.
func endpointOf(t testing.TB, other webhook.Webhook) endpoint {
	t.Helper()
	e := endpoint{metrics: NewMetrics("test"), log: &journal{}}
	log := slog.New(slog.NewJSONHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h, err := NewHandler(HandlerConfig{Patcher: fixed(testPatcher(t)), Metrics: e.metrics, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if other != nil {
		h = newHandler(other, e.metrics, log)
	}
	e.Server = httptest.NewTLSServer(h)
	t.Cleanup(e.Close)
	return e
}

// post sends a body and returns status and text of the answer.
func (e endpoint) post(body []byte) (status int, answer []byte, err error) {
	r, err := e.Client().Post(e.URL+"/mutate", "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	answer, err = io.ReadAll(r.Body)
	return r.StatusCode, answer, err
}

// review sends a review and returns the response in the answer, after the
// checks that hold for each.
func (e endpoint) review(t testing.TB, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	status, answer, err := e.post(body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("HTTP %d, %v: %.300s", status, err, answer)
	}
	return responseIn(t, answer)
}

func responseIn(t testing.TB, answer []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	var ar admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &ar); err != nil {
		t.Fatalf("%v: %.300s", err, answer)
	}
	switch r := ar.Response; {
	case ar.APIVersion != "admission.k8s.io/v1" || ar.Kind != "AdmissionReview" || ar.Request != nil || r == nil:
		t.Fatalf("not an answer: %.300s", answer)
	case !r.Allowed || r.Result != nil:
		t.Fatalf("a pod was refused: %.300s", answer)
	case len(r.Patch) == 0 || r.PatchType == nil || *r.PatchType != admissionv1.PatchTypeJSONPatch:
		t.Fatalf("patch and patchType must both be there, or the API server refuses the pod: %.300s", answer)
	}
	return ar.Response
}

func TestRequestsThatAreNoReviewsAreRefused(t *testing.T) {
	pod := corpus.Pods()["agent"]
	good := string(createReview("1", pod))
	for name, tc := range map[string]struct {
		method, contentType, body string
		status                    int
		says, reason              string
	}{
		"a GET":                       {"GET", "application/json", "", 405, "POST", "method"},
		"a PUT":                       {"PUT", "application/json", good, 405, "POST", "method"},
		"no content type":             {"POST", "", good, 415, "Content-Type: application/json", "content_type"},
		"another content type":        {"POST", "text/json", good, 415, "Content-Type: application/json", "content_type"},
		"a broken content type":       {"POST", "application/json; charset", good, 415, "Content-Type: application/json", "content_type"},
		"7 MB":                        {"POST", "application/json", strings.Repeat(" ", 7_000_000) + good, 413, "6291456 bytes", "too_large"},
		"no body":                     {"POST", "application/json", "", 400, "not an AdmissionReview", "malformed"},
		"no JSON":                     {"POST", "application/json", "kind: AdmissionReview", 400, "not an AdmissionReview", "malformed"},
		"JSON that ends early":        {"POST", "application/json", good[:len(good)/2], 400, "not an AdmissionReview", "malformed"},
		"a list":                      {"POST", "application/json", "[" + good + "]", 400, "want an object", "malformed"},
		"null":                        {"POST", "application/json", "null", 400, "want AdmissionReview", "malformed"},
		"a pod":                       {"POST", "application/json", string(pod), 400, `"Pod" of "v1"`, "malformed"},
		"v1beta1":                     {"POST", "application/json", strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1), 400, "set admissionReviewVersions to [v1]", "malformed"},
		"no request":                  {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, 400, "no request", "malformed"},
		"a null request":              {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`, 400, "no request", "malformed"},
		"a request that is a text":    {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"x"}`, 400, "want an object", "malformed"},
		"a request without uid":       {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{}}`, 400, "no uid", "malformed"},
		"a uid that is a number":      {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":1}}`, 400, "want a string", "malformed"},
		"a resource that is a text":   {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","resource":"pods"}}`, 400, "want an object", "malformed"},
		"a key of 1 MB":               {"POST", "application/json", `{"` + strings.Repeat("k", 1<<20) + `":{"x"}}`, 400, "not an AdmissionReview", "malformed"},
		"a version of 1 MB":           {"POST", "application/json", `{"kind":"` + strings.Repeat("k", 1<<20) + `"}`, 400, "kkkk", "malformed"},
		"an answer, not a question":   {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"1","allowed":true}}`, 400, "no request", "malformed"},
		"an object that is cut short": {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","object":{"x":`, 400, "not an AdmissionReview", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, nil)
			r, err := http.NewRequest(tc.method, e.URL+"/mutate", strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if tc.contentType != "" {
				r.Header.Set("Content-Type", tc.contentType)
			}
			response, err := e.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != tc.status || !strings.Contains(string(text), tc.says) || len(text) > 500 {
				t.Errorf("HTTP %d: %.600s\nwant %d, %q", response.StatusCode, text, tc.status, tc.says)
			}
			if tc.status == http.StatusMethodNotAllowed && response.Header.Get("Allow") != http.MethodPost {
				t.Errorf("Allow: %q", response.Header.Get("Allow"))
			}
			counted(t, e.metrics, map[string]float64{
				`privatelink_requests_rejected_total{reason="` + tc.reason + `"}`: 1, "privatelink_panics_total": 0, "privatelink_review_duration_seconds_count": 0,
			})
			e.Close()
			if log := e.log.String(); log == "" || len(log) > 1000 {
				t.Errorf("log of %d bytes: %.1100s", len(log), log)
			}
		})
	}
}

func TestWhatIsNotOursIsAllowedUnchanged(t *testing.T) {
	const spec = `"spec":{"containers":[{"name":"a","image":"busybox"}]}`
	ask := func(operation, subresource, resource, object, old string) request {
		r := podRequest("1", operation, subresource)
		r.Resource["resource"] = resource
		r.Object, r.OldObject = []byte(object), []byte(old)
		return r
	}
	group := ask("CREATE", "", "pods", "{"+spec+"}", "null")
	group.Resource["group"] = "metrics.k8s.io"
	for name, tc := range map[string]struct {
		request request
		warns   bool
		series  string
	}{
		"a pod without containers":     {ask("CREATE", "", "pods", `{"metadata":{},"spec":{"containers":[]}}`, "null"), false, `operation="create",result="unchanged"`},
		"a pod without spec":           {ask("CREATE", "", "pods", `{}`, "null"), false, `operation="create",result="unchanged"`},
		"a pod that is null":           {ask("CREATE", "", "pods", `null`, "null"), false, `operation="create",result="unchanged"`},
		"a static pod":                 {ask("CREATE", "", "pods", string(corpus.Pods()["mirror-pod"]), "null"), false, `operation="create",result="skipped"`},
		"an update of a pod":           {ask("UPDATE", "", "pods", "{"+spec+"}", "{"+spec+"}"), false, `operation="other",result="skipped"`},
		"a deletion of a pod":          {ask("DELETE", "", "pods", "null", "{"+spec+"}"), false, `operation="other",result="skipped"`},
		"a connection to a pod":        {ask("CONNECT", "exec", "pods", `{"kind":"PodExecOptions"}`, "null"), false, `operation="other",result="skipped"`},
		"an eviction":                  {ask("CREATE", "eviction", "pods", `{"kind":"Eviction"}`, "null"), false, `operation="other",result="skipped"`},
		"a binding":                    {ask("CREATE", "binding", "pods", `{"kind":"Binding"}`, "null"), false, `operation="other",result="skipped"`},
		"a resize":                     {ask("UPDATE", "resize", "pods", "{"+spec+"}", "{"+spec+"}"), false, `operation="other",result="skipped"`},
		"a status":                     {ask("UPDATE", "status", "pods", "{"+spec+"}", "{"+spec+"}"), false, `operation="other",result="skipped"`},
		"ephemeral containers created": {ask("CREATE", "ephemeralcontainers", "pods", "{"+spec+"}", "null"), false, `operation="other",result="skipped"`},
		"a deployment":                 {ask("CREATE", "", "deployments", `{"spec":{"template":{`+spec+`}}}`, "null"), false, `operation="other",result="skipped"`},
		"a pod of another API group":   {group, false, `operation="other",result="skipped"`},
		"a key twice in the pod":       {ask("CREATE", "", "pods", `{"metadata":{"x":1,"x":1},`+spec+`}`, "null"), true, `operation="create",result="skipped"`},
		"broken UTF-8 in the pod":      {ask("CREATE", "", "pods", "{\"metadata\":{\"name\":\"\xff\xfe\"},"+spec+"}", "null"), true, `operation="create",result="skipped"`},
		"broken UTF-8 in the old pod":  {ask("UPDATE", "ephemeralcontainers", "pods", "{}", "{\"x\":\"\xff\"}"), true, `operation="ephemeral",result="skipped"`},
		"a list in place of the pod":   {ask("CREATE", "", "pods", `[]`, "null"), true, `operation="create",result="skipped"`},
		"an image that is a number":    {ask("CREATE", "", "pods", `{"spec":{"containers":[{"image":5}]}}`, "null"), true, `operation="create",result="skipped"`},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, nil)
			r := e.review(t, review(tc.request))
			if string(r.Patch) != "[]" || r.UID != "1" {
				t.Errorf("patch %s for %q", r.Patch, r.UID)
			}
			if warned := len(r.Warnings) > 0; warned != tc.warns {
				t.Errorf("warnings %q", r.Warnings)
			}
			counted(t, e.metrics, map[string]float64{"privatelink_reviews_total{" + tc.series + "}": 1, "privatelink_panics_total": 0})
		})
	}
	t.Run("a review without a pod", func(t *testing.T) {
		e := endpointOf(t, nil)
		r := e.review(t, []byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","operation":"CREATE","resource":{"resource":"pods"}}}`))
		if string(r.Patch) != "[]" {
			t.Errorf("patch %s", r.Patch)
		}
	})
}

func TestReviewsAreAnsweredWithThePatch(t *testing.T) {
	pods, p := corpus.Pods(), testPatcher(t)
	e := endpointOf(t, nil)
	for name, pod := range pods {
		t.Run(name, func(t *testing.T) {
			want, report := p.Create(pod)
			got := e.review(t, createReview("uid of "+name, pod))
			if string(got.UID) != "uid of "+name || string(got.Patch) != string(want) {
				t.Errorf("for %q patch %s\nwant %s", got.UID, got.Patch, want)
			}
			if w := report.Warning(); strings.Join(got.Warnings, "|") != w {
				t.Errorf("warnings %q, want %q", got.Warnings, w)
			}
		})
	}
	t.Run("ephemeral containers", func(t *testing.T) {
		r := podRequest("e", "UPDATE", "ephemeralcontainers")
		r.Object, r.OldObject = pods["ephemeral.new"], pods["ephemeral.old"]
		want, _ := p.UpdateEphemeral(r.Object, r.OldObject)
		if got := e.review(t, review(r)); string(got.Patch) != string(want) {
			t.Errorf("patch %s\nwant %s", got.Patch, want)
		}
	})
	t.Run("content types, ours and one with parameters", func(t *testing.T) {
		r, err := e.Client().Post(e.URL, "application/json; charset=utf-8", bytes.NewReader(createReview("1", pods["agent"])))
		if err != nil {
			t.Fatal(err)
		}
		if _ = r.Body.Close(); r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("HTTP %d, %s", r.StatusCode, r.Header.Get("Content-Type"))
		}
	})
	t.Run("a review whose parts come in another order, with parts of the future", func(t *testing.T) {
		body := `{"future":{"request":{"uid":"no"}},"request":{"oldObject":null,"object":` + string(pods["minimal"]) + `,"dryRun":{"uid":"no"},"resource":{"future":[1],"resource":"pods","version":"v1","group":""},` +
			`"subResource":null,"operation":"CREATE","future":{"x":[]},"uid":"1"},"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"} `
		want, _ := p.Create(pods["minimal"])
		if got := e.review(t, []byte(body)); got.UID != "1" || string(got.Patch) != string(want) {
			t.Errorf("for %q patch %s\nwant %s", got.UID, got.Patch, want)
		}
	})
}

func TestLargePods(t *testing.T) {
	t.Run("5000 containers are all rewritten, their record is bounded", func(t *testing.T) {
		pod := podOf(5000, "quay.io/acme/widget:v1")
		body := createReview("1", pod)
		if len(body) > maxBody {
			t.Fatalf("the review of %d bytes would be refused", len(body))
		}
		e := endpointOf(t, nil)
		patch := e.review(t, body).Patch
		after := decode(t, applied(t, pod, patch))
		containers := items(after, "containers")
		for _, c := range containers {
			if c["image"] != registry+"/quay.io/acme/widget:v1" {
				t.Fatalf("left: %v", c["image"])
			}
		}
		if size := len(encoded(t, recorded(after))); len(containers) != 5000 || size > maxRecord+100 {
			t.Errorf("%d containers, a record of %d bytes", len(containers), size)
		}
		counted(t, e.metrics, map[string]float64{`privatelink_images_total{outcome="rewritten"}`: 5000})
	})
	t.Run("an image of 10 kB is left, with a short warning", func(t *testing.T) {
		e := endpointOf(t, nil)
		r := e.review(t, createReview("1", podOf(1, "quay.io/"+strings.Repeat("a", 10_000))))
		if string(r.Patch) != "[]" || len(r.Warnings) != 1 || len(r.Warnings[0]) >= 120 {
			t.Errorf("patch %s, warnings %q", r.Patch, r.Warnings)
		}
		counted(t, e.metrics, map[string]float64{`privatelink_images_total{outcome="unparsable"}`: 1})
		if e.Close(); len(e.log.String()) > 1500 {
			t.Errorf("a log of %d bytes", len(e.log.String()))
		}
	})
}

func TestEveryOutcomeIsCountedUnderAClosedSetOfLabels(t *testing.T) {
	e := endpointOf(t, nil)
	for name, pod := range corpus.Pods() {
		for i := range 3 {
			e.review(t, createReview(fmt.Sprint(name, i), pod))
		}
	}
	e.review(t, createReview("ipv6", podOf(1, "[2001:db8::7]/widget:v7")))
	if status, _, err := e.post([]byte("{")); err != nil || status != http.StatusBadRequest {
		t.Errorf("HTTP %d, %v", status, err)
	}
	closed := map[string][]string{
		"operation": {"create", "ephemeral", "other"}, "result": {"rewritten", "unchanged", "skipped", "panic"},
		"outcome": {"rewritten", "private", "kept", "unparsable", "illegal"},
		"reason":  {"method", "content_type", "too_large", "unreadable", "malformed"},
		"version": {"test"},
	}
	reviews := 0.0
	for series, value := range scrape(t, e.metrics) {
		name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		if !strings.HasPrefix(name, "privatelink_") || labels == "" || strings.HasSuffix(name, "_bucket") {
			continue
		}
		if name == "privatelink_reviews_total" {
			reviews += value
		}
		for label := range strings.SplitSeq(labels, ",") {
			key, quoted, _ := strings.Cut(label, "=")
			if !slices.Contains(closed[key], strings.Trim(quoted, `"`)) {
				t.Errorf("series %s has a label that is not of the closed set", series)
			}
		}
	}
	want := float64(3*len(corpus.Pods()) + 1)
	if reviews != want {
		t.Errorf("%v reviews counted, want %v", reviews, want)
	}
	counted(t, e.metrics, map[string]float64{"privatelink_review_duration_seconds_count": want, `privatelink_requests_rejected_total{reason="malformed"}`: 1})
}

func TestImagesAreCountedByOutcome(t *testing.T) {
	for image, outcome := range map[string]string{
		"busybox": "rewritten", registry + "/a:1": "private", corpus.Kept + "/a:1": "kept", "localhost:5000/a": "kept",
		"a:b:c": "unparsable", "my_reg.example.com/a": "unparsable", "[::2]/a": "illegal", "Ghcr.IO/a": "illegal",
	} {
		t.Run(image, func(t *testing.T) {
			e := endpointOf(t, nil)
			e.review(t, createReview("1", podOf(1, image)))
			for _, o := range []string{"rewritten", "private", "kept", "unparsable", "illegal"} {
				want := 0.0
				if o == outcome {
					want = 1
				}
				counted(t, e.metrics, map[string]float64{`privatelink_images_total{outcome="` + o + `"}`: want})
			}
		})
	}
}

// logLine is one line of the log, as an operator's query sees it.
type logLine struct {
	Level, Msg, UID, Namespace, Pod, Reason string
	Count                                   int
	DryRun                                  bool
	Images                                  []line
}

func logged(t *testing.T, log *journal) (lines []logLine) {
	t.Helper()
	for text := range strings.Lines(log.String()) {
		var l logLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestTheLogSaysWhatBecameOfAPod(t *testing.T) {
	pod := []byte(`{"metadata":{"generateName":"agent-","labels":{"canary":"C1"}},"spec":{"containers":[{"name":"a","image":"busybox:1","args":["canary C2"],
		"env":[{"name":"PASSWORD","value":"canary C3"},{"name":"SCANNERS_IMAGE","value":"canary-C4"},{"name":"JMX_EXPORTER_INIT_IMAGE","value":"ghcr.io/castai/images/jmx-exporter-init:1"}]},
		{"name":"b","image":"canary::C5"},{"name":"c","image":"` + registry + `/c:1"}]}}`)
	dry := createRequest("u-1", pod)
	dry.DryRun = true
	for name, tc := range map[string]struct {
		request request
		want    logLine
	}{
		"one line at Info for a pod that changed": {dry, logLine{
			Level: "INFO", Msg: "images rewritten", UID: "u-1", Namespace: "castai-agent", Pod: "agent-*", Count: 2, DryRun: true, Images: []line{
				{Location: "containers/a", Source: "busybox:1", Target: registry + "/docker.io/library/busybox:1"},
				{Location: "containers/a/env/SCANNERS_IMAGE", Source: "(not shown)", Left: "no_host"},
				{Location: "containers/a/env/JMX_EXPORTER_INIT_IMAGE", Source: "ghcr.io/castai/images/jmx-exporter-init:1", Target: registry + "/jmx-exporter-init:1"},
				{Location: "containers/b", Source: "canary::C5", Left: "unparsable"},
			},
		}},
		"one line at Debug for a pod that did not": {createRequest("u-2", podOf(1, registry+"/c:1")), logLine{
			Level: "DEBUG", Msg: "images unchanged", UID: "u-2", Namespace: "castai-agent", Pod: "castai-agent-7d9c6b5f4d-*",
		}},
		"one line at Warn for a pod that was not understood": {createRequest("u-3", []byte(`{"spec":{"containers":[{"image":"canary C6","args":7,"args":8}]}}`)), logLine{
			Level: "WARN", Msg: "images skipped", UID: "u-3", Namespace: "castai-agent", Reason: "pod/spec/containers/0/args: jsontext: duplicate object member name \"args\"",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, nil)
			e.review(t, review(tc.request))
			e.Close()
			lines := logged(t, e.log)
			if len(lines) != 1 {
				t.Fatalf("%d lines:\n%s", len(lines), e.log)
			}
			if r := tc.want.Reason; strings.HasPrefix(lines[0].Reason, r) {
				lines[0].Reason = r // the library may add an offset
			}
			if diff := cmp.Diff(tc.want, lines[0]); diff != "" {
				t.Errorf("the log (-want +got):\n%s", diff)
			}
			if text := strings.ReplaceAll(e.log.String(), "canary::C5", ""); strings.Contains(text, "canary") {
				t.Errorf("something of the pod that is no image is in the log: %s", text)
			}
		})
	}
}

// fake is a kubewebhook Webhook that does what a test wants.
type fake func(context.Context, model.AdmissionReview) (model.AdmissionResponse, error)

func (fake) ID() string              { return "fake" }
func (fake) Kind() model.WebhookKind { return model.WebhookKindMutating }
func (f fake) Review(ctx context.Context, r model.AdmissionReview) (model.AdmissionResponse, error) {
	return f(ctx, r)
}

func TestABugOfOursDoesNotRefuseAPod(t *testing.T) {
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
			counted(t, e.metrics, map[string]float64{"privatelink_panics_total": 2, `privatelink_reviews_total{operation="other",result="panic"}`: 2})
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
	counted(t, m, map[string]float64{"privatelink_panics_total": 1})
}

func TestTheRulesInForceAreAskedForAtEachReview(t *testing.T) {
	other, err := rewrite.New(rewrite.Config{Registry: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/other"})
	if err != nil {
		t.Fatal(err)
	}
	patchers := []*Patcher{testPatcher(t), NewPatcher(other)}
	h, err := NewHandler(HandlerConfig{Metrics: NewMetrics("test"), Patcher: func() (p *Patcher) {
		p, patchers = patchers[0], patchers[1:]
		return p
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{registry, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/other"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(createReview("1", corpus.Pods()["minimal"])))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		if patch := responseIn(t, w.Body.Bytes()).Patch; !strings.Contains(string(patch), `"`+want+"/docker.io/library/busybox") {
			t.Errorf("patch %s, want the registry %s", patch, want)
		}
	}
}

func TestAHandlerNeedsPatcherAndMetrics(t *testing.T) {
	for name, c := range map[string]HandlerConfig{"without Patcher": {Metrics: NewMetrics("")}, "without Metrics": {Patcher: fixed(nil)}} {
		if _, err := NewHandler(c); err == nil {
			t.Errorf("%s a handler was made", name)
		}
	}
}

// raw opens a connection and sends the head of a review of the size, with the
// beginning of its body.
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
	counted(t, e.metrics, map[string]float64{`privatelink_requests_rejected_total{reason="unreadable"}`: 1})
	e.review(t, body)
}

func TestAClientThatGoesAway(t *testing.T) {
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
		counted(t, e.metrics, map[string]float64{`privatelink_requests_rejected_total{reason="unreadable"}`: 1, "privatelink_panics_total": 0})
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
		counted(t, e.metrics, map[string]float64{"privatelink_panics_total": 0})
		e.review(t, createReview("next", corpus.Pods()["agent"]))
	})
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
	f.Fuzz(func(t *testing.T, body []byte) {
		m := NewMetrics("test")
		h := newHandler(mutator{fixed(testPatcher(t)), m, slog.New(slog.DiscardHandler)}, m, slog.New(slog.DiscardHandler))
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
		counted(t, m, map[string]float64{"privatelink_panics_total": 0})
	})
}
