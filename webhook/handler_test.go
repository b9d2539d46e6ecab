// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slok/kubewebhook/v2/pkg/webhook"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/testutil/corpus"
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
		"21 MB":                       {"POST", "application/json", strings.Repeat(" ", 21_000_000) + good, 413, "20971520 bytes", "too_large"},
		"21 MB of an unknown size":    {"POST chunked", "application/json", strings.Repeat(" ", 21_000_000) + good, 413, "20971520 bytes", "too_large"},
		"no body":                     {"POST", "application/json", "", 400, "not an AdmissionReview", "malformed"},
		"no JSON":                     {"POST", "application/json", "kind: AdmissionReview", 400, "not an AdmissionReview", "malformed"},
		"JSON that ends early":        {"POST", "application/json", good[:len(good)/2], 400, "not an AdmissionReview", "malformed"},
		"a list":                      {"POST", "application/json", "[" + good + "]", 400, " unmarshal JSON ", "malformed"},
		"null":                        {"POST", "application/json", "null", 400, "want AdmissionReview", "malformed"},
		"a pod":                       {"POST", "application/json", string(pod), 400, `"Pod" of "v1"`, "malformed"},
		"v1beta1":                     {"POST", "application/json", strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1), 400, "set admissionReviewVersions to [v1]", "malformed"},
		"no request":                  {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, 400, "no request", "malformed"},
		"a null request":              {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":null}`, 400, "no request", "malformed"},
		"a request that is a text":    {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":"x"}`, 400, " unmarshal JSON ", "malformed"},
		"a request without uid":       {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{}}`, 400, "no uid", "malformed"},
		"a uid that is a number":      {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":1}}`, 400, " unmarshal JSON ", "malformed"},
		"a resource that is a text":   {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","resource":"pods"}}`, 400, " unmarshal JSON ", "malformed"},
		"a key of 1 MB":               {"POST", "application/json", `{"` + strings.Repeat("k", 1<<20) + `":{"x"}}`, 400, "not an AdmissionReview", "malformed"},
		"a version of 1 MB":           {"POST", "application/json", `{"kind":"` + strings.Repeat("k", 1<<20) + `"}`, 400, "kkkk", "malformed"},
		"an answer, not a question":   {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"1","allowed":true}}`, 400, "no request", "malformed"},
		"an object that is cut short": {"POST", "application/json", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"1","object":{"x":`, 400, "not an AdmissionReview", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, nil)
			method, chunked := strings.CutSuffix(tc.method, " chunked")
			r, err := http.NewRequest(method, e.URL+"/mutate", strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if chunked {
				r.ContentLength = -1
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
			expectMetrics(t, e.metrics, map[string]float64{
				`privatelink_requests_rejected_total{reason="` + tc.reason + `"}`: 1, "privatelink_panics_total": 0, "privatelink_review_duration_seconds_count": 0,
			})
			e.Close()
			if log := e.log.String(); log == "" || len(log) > 1000 {
				t.Errorf("log of %d bytes: %.1100s", len(log), log)
			}
		})
	}
}

func TestUnrelatedRequestsAreAllowedUnchanged(t *testing.T) {
	const spec = `"spec":{"containers":[{"name":"a","image":"busybox"}]}`
	newRequest := func(operation, subresource, resource, object, old string) request {
		r := podRequest("1", operation, subresource)
		r.Resource["resource"] = resource
		r.Object, r.OldObject = []byte(object), []byte(old)
		return r
	}
	group := newRequest("CREATE", "", "pods", "{"+spec+"}", "null")
	group.Resource["group"] = "metrics.k8s.io"
	for name, tc := range map[string]struct {
		request request
		warns   bool
		series  string
	}{
		"a pod without containers":      {newRequest("CREATE", "", "pods", `{"metadata":{},"spec":{"containers":[]}}`, "null"), false, `operation="create",result="unchanged"`},
		"a pod without spec":            {newRequest("CREATE", "", "pods", `{}`, "null"), false, `operation="create",result="unchanged"`},
		"a pod that is null":            {newRequest("CREATE", "", "pods", `null`, "null"), false, `operation="create",result="unchanged"`},
		"a static pod":                  {newRequest("CREATE", "", "pods", string(corpus.Pods()["mirror-pod"]), "null"), false, `operation="create",result="skipped"`},
		"an update of a pod":            {newRequest("UPDATE", "", "pods", "{"+spec+"}", "{"+spec+"}"), false, `operation="update",result="unchanged"`},
		"an update without the old pod": {newRequest("UPDATE", "", "pods", "{"+spec+"}", "null"), true, `operation="update",result="skipped"`},
		"a deletion of a pod":           {newRequest("DELETE", "", "pods", "null", "{"+spec+"}"), false, `operation="other",result="skipped"`},
		"a connection to a pod":         {newRequest("CONNECT", "exec", "pods", `{"kind":"PodExecOptions"}`, "null"), false, `operation="other",result="skipped"`},
		"an eviction":                   {newRequest("CREATE", "eviction", "pods", `{"kind":"Eviction"}`, "null"), false, `operation="other",result="skipped"`},
		"a binding":                     {newRequest("CREATE", "binding", "pods", `{"kind":"Binding"}`, "null"), false, `operation="other",result="skipped"`},
		"a resize":                      {newRequest("UPDATE", "resize", "pods", "{"+spec+"}", "{"+spec+"}"), false, `operation="other",result="skipped"`},
		"a status":                      {newRequest("UPDATE", "status", "pods", "{"+spec+"}", "{"+spec+"}"), false, `operation="other",result="skipped"`},
		"ephemeral containers created":  {newRequest("CREATE", "ephemeralcontainers", "pods", "{"+spec+"}", "null"), false, `operation="other",result="skipped"`},
		"a deployment":                  {newRequest("CREATE", "", "deployments", `{"spec":{"template":{`+spec+`}}}`, "null"), false, `operation="other",result="skipped"`},
		"a pod of another API group":    {group, false, `operation="other",result="skipped"`},
		"a key twice in the pod":        {newRequest("CREATE", "", "pods", `{"metadata":{"x":1,"x":1},`+spec+`}`, "null"), true, `operation="create",result="skipped"`},
		"broken UTF-8 in the pod":       {newRequest("CREATE", "", "pods", "{\"metadata\":{\"name\":\"\xff\xfe\"},"+spec+"}", "null"), true, `operation="create",result="skipped"`},
		"broken UTF-8 in the old pod":   {newRequest("UPDATE", "ephemeralcontainers", "pods", "{}", "{\"x\":\"\xff\"}"), true, `operation="ephemeral",result="skipped"`},
		"a list instead of the pod":     {newRequest("CREATE", "", "pods", `[]`, "null"), true, `operation="create",result="skipped"`},
		"an image that is a number":     {newRequest("CREATE", "", "pods", `{"spec":{"containers":[{"image":5}]}}`, "null"), true, `operation="create",result="skipped"`},
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
			expectMetrics(t, e.metrics, map[string]float64{"privatelink_reviews_total{" + tc.series + "}": 1, "privatelink_panics_total": 0})
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
	t.Run("update", func(t *testing.T) {
		r := podRequest("u", "UPDATE", "")
		r.Object, r.OldObject = pods["agent"], pods["minimal"]
		want, _ := p.Update(r.Object, r.OldObject)
		if got := e.review(t, review(r)); string(got.Patch) != string(want) || string(want) == "[]" {
			t.Errorf("patch %s\nwant %s", got.Patch, want)
		}
	})
	t.Run("content types with and without parameters", func(t *testing.T) {
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
				t.Fatalf("not rewritten: %v", c["image"])
			}
		}
		if size := len(encoded(t, recorded(after))); len(containers) != 5000 || size > maxRecord+100 {
			t.Errorf("%d containers, a record of %d bytes", len(containers), size)
		}
		expectMetrics(t, e.metrics, map[string]float64{`privatelink_images_total{outcome="rewritten"}`: 5000})
	})
	t.Run("what etcd can store is examined, however it is escaped", func(t *testing.T) {
		// 1.5 MiB of text that encoding/json writes in six bytes each, twice.
		text := strings.Repeat(`\u003c`, 3<<19)
		pod := func(image string) []byte {
			return []byte(`{"metadata":{"annotations":{"x":"` + text + `"}},"spec":{"containers":[{"name":"a","image":"` + image + `"}]}}`)
		}
		r := podRequest("1", "UPDATE", "")
		r.Object, r.OldObject = pod("busybox:2"), pod("busybox:1")
		e := endpointOf(t, nil)
		want := `[{"op":"replace","path":"/spec/containers/0/image","value":"` + registry + `/docker.io/library/busybox:2"}]`
		if got := e.review(t, review(r)); string(got.Patch) != want {
			t.Errorf("patch %s\nwant  %s", got.Patch, want)
		}
	})
	t.Run("an image of 10 kB is not rewritten, with a short warning", func(t *testing.T) {
		e := endpointOf(t, nil)
		r := e.review(t, createReview("1", podOf(1, "quay.io/"+strings.Repeat("a", 10_000))))
		if string(r.Patch) != "[]" || len(r.Warnings) != 1 || len(r.Warnings[0]) >= 120 {
			t.Errorf("patch %s, warnings %q", r.Patch, r.Warnings)
		}
		expectMetrics(t, e.metrics, map[string]float64{`privatelink_images_total{outcome="unparsable"}`: 1})
		if e.Close(); len(e.log.String()) > 1500 {
			t.Errorf("a log of %d bytes", len(e.log.String()))
		}
	})
}

// logLine is one line of the log, as an operator's query sees it.

// fake is a kubewebhook Webhook that does what a test wants.

func TestEachReviewUsesTheCurrentRules(t *testing.T) {
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

func TestAHandlerRequiresPatcherAndMetrics(t *testing.T) {
	for name, c := range map[string]HandlerConfig{"without Patcher": {Metrics: NewMetrics("")}, "without Metrics": {Patcher: fixed(nil)}} {
		if _, err := NewHandler(c); err == nil {
			t.Errorf("%s a handler was made", name)
		}
	}
}

// raw opens a connection and sends the head of a review of the size, with the

// beginning of its body.
