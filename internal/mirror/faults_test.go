// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func anyRequest(*http.Request) bool { return true }

func hasMethod(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method }
}

func isUploadPut(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/uploads/")
}

func isManifestPut(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
}

// oncePerPath limits a fault to the first matching request for each path.
func oncePerPath(match func(*http.Request) bool, f fakeregistry.Fault) fakeregistry.Fault {
	var seen sync.Map
	return fakeregistry.When(func(r *http.Request) bool {
		if !match(r) {
			return false
		}
		_, repeated := seen.LoadOrStore(r.URL.Path, true)
		return !repeated
	}, f)
}

// attempts is how often a client sends a request, and a mirror a blob or a manifest.
const attempts = 5

// atMost limits a fault to n of the requests for the same content.
func atMost(n int, f fakeregistry.Fault) fakeregistry.Fault {
	var mu sync.Mutex
	seen := map[string]int{}
	return fakeregistry.When(func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		repository, _, isUpload := strings.Cut(r.URL.Path, "/blobs/uploads/")
		content := r.Method + " " + repository
		if isUpload { // its path is another in each attempt
			content += "@" + r.URL.Query().Get("digest")
		}
		seen[content]++
		return seen[content] <= n
	}, f)
}

// every limits a fault to each n-th of the requests that match, and to fewer for the same
// content than there are attempts: by chance, all attempts of one could be an n-th.
func every(n int64, match func(*http.Request) bool, f fakeregistry.Fault) fakeregistry.Fault {
	return fakeregistry.Every(n, match, atMost(attempts-1, f))
}

// corruptByte changes one byte of a response.
func corruptByte(w http.ResponseWriter, r *http.Request, next http.Handler) {
	response := httptest.NewRecorder()
	next.ServeHTTP(response, r)
	body := response.Body.Bytes()
	body[len(body)/2]++
	_, _ = w.Write(body)
}

// replaceBody replaces all of a response's body.
func replaceBody(w http.ResponseWriter, r *http.Request, next http.Handler) {
	response := httptest.NewRecorder()
	next.ServeHTTP(response, r)
	_, _ = w.Write(bytes.Repeat([]byte("x"), response.Body.Len()))
}

// cutRequest reads a part of the request and closes the connection.
func cutRequest(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.CopyN(io.Discard, r.Body, 10_000)
	panic(http.ErrAbortHandler)
}

// loseResponse handles the request and closes the connection.
func loseResponse(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

func throttle(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Retry-After", "0")
	w.WriteHeader(http.StatusTooManyRequests)
}

func TestTransientFaults(t *testing.T) {
	respond := fakeregistry.Respond
	for name, tc := range map[string]struct{ source, target fakeregistry.Fault }{
		"source: blobs are cut off":             {source: every(2, fakeregistry.IsBlobGet, fakeregistry.CutAfter(20_000))},
		"source: status 500":                    {source: every(3, anyRequest, respond(500, ""))},
		"source: status 429":                    {source: every(3, anyRequest, throttle)},
		"source: connections are closed":        {source: every(5, anyRequest, fakeregistry.Abort)},
		"source: a wrong byte, once per blob":   {source: oncePerPath(fakeregistry.IsBlobGet, corruptByte)},
		"target: status 500":                    {target: every(7, anyRequest, respond(500, ""))},
		"target: status 429":                    {target: every(3, hasMethod("POST"), respond(429, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`))},
		"target: uploads are not answered":      {target: every(3, hasMethod("PUT"), fakeregistry.Abort)},
		"target: uploads are cut off":           {target: every(4, isUploadPut, cutRequest)},
		"target: responses to uploads are lost": {target: every(4, hasMethod("PUT"), loseResponse)},
		// What is unknown after two retries counts as lost.
		"target: blobs are visible late":     {target: every(3, isManifestPut, atMost(2, respond(400, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`)))},
		"target: manifests are visible late": {target: fakeregistry.AppearLate(2)}, // https://github.com/Infomaniak/cert-manager-webhook-infomaniak/pull/29
		"target: uploads start again":        {target: every(4, isUploadPut, respond(416, `{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}`))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 4, 50_000)
			p.target.DisableMounts()
			p.source.SetFault(tc.source)
			p.target.SetFault(tc.target)
			var progress mirror.Progress
			plan, err := p.run(t.Context(), &progress)
			if err != nil {
				t.Fatal(err)
			}
			p.source.SetFault(nil)
			p.target.SetFault(nil)
			checkCopied(t, plan)
			if progress.Done.Load() != progress.Total.Load() {
				t.Errorf("progress %d of %d", progress.Done.Load(), progress.Total.Load())
			}
			p.checkEqual(t)
		})
	}
}

// A permanent fault ends with an error that names the cause, and without a tag.
func TestPermanentFaults(t *testing.T) {
	isUpload := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/uploads/") }
	isTagPut := func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/v1")
	}
	when, respond := fakeregistry.When, fakeregistry.Respond
	for name, tc := range map[string]struct {
		source, target fakeregistry.Fault
		want           string
	}{
		"corrupt source":           {source: when(fakeregistry.IsBlobGet, replaceBody), want: "does not match its digest"},
		"source without the blobs": {source: when(fakeregistry.IsBlobGet, respond(404, ``)), want: "not found"},
		"no permission to upload":  {target: when(isUpload, respond(403, `{"errors":[{"code":"DENIED","message":"no ecr:InitiateLayerUpload"}]}`)), want: "not allowed"},
		"no credentials":           {target: when(isUpload, respond(401, ``)), want: "docker login"},
		"immutable tag":            {target: when(isTagPut, respond(400, `{"errors":[{"code":"TAG_INVALID","message":"immutable"}]}`)), want: "to replace it, delete it in the registry first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, 2, 10_000)
			p.target.DisableMounts()
			p.source.SetFault(tc.source)
			p.target.SetFault(tc.target)
			plan, err := p.run(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			p.target.SetFault(nil)
			for _, i := range plan.Items {
				if i.State != mirror.StateFailed || !strings.Contains(fmt.Sprint(i.Err), tc.want) {
					t.Errorf("%s: %s %v, want %q", i.Source, i.State, i.Err, tc.want)
				}
				if got := fakeregistry.Digest(t, i.Target); got != "" {
					t.Errorf("%s is %s", i.Target, got)
				}
			}
		})
	}
}
