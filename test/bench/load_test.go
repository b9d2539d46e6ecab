// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const rightPatch = `[{"op":"replace","path":"/spec/containers/0/image","value":"` + registry + `/agent:v0.161.1"},` +
	`{"op":"add","path":"/metadata/annotations/a","value":{}},` +
	`{"op":"replace","path":"/spec/containers/1/image","value":"` + registry + `/x@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]`

func answerWith(uid, patch string) string {
	b, _ := json.Marshal([]byte(patch))
	return fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":%q,"allowed":true,"patchType":"JSONPatch","patch":%s}}`, uid, b)
}

func TestLoad(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter, uid string)
		fault  string
	}{
		"right answers are counted": {func(w http.ResponseWriter, uid string) { fmt.Fprint(w, answerWith(uid, rightPatch)) }, ""},
		"the uid of another request is found out": {
			func(w http.ResponseWriter, _ string) { fmt.Fprint(w, answerWith(noUID, rightPatch)) }, "uid",
		},
		"an image that is not rewritten is an error": {
			func(w http.ResponseWriter, uid string) { fmt.Fprint(w, answerWith(uid, "[]")) }, "does not replace",
		},
		"one operation too many is found out": {
			func(w http.ResponseWriter, uid string) {
				fmt.Fprint(w, answerWith(uid, rightPatch[:len(rightPatch)-1]+`,{"op":"remove","path":"/status"}]`))
			}, "unexpected operation",
		},
		"a failure is found out": {func(w http.ResponseWriter, _ string) { http.Error(w, "no", http.StatusTeapot) }, "418"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoad(t, tc.answer)
			got, err := l.run(t.Context())
			if tc.fault == "" {
				if n := len(got.latencies); err != nil || n == 0 || got.answered < n || got.took <= 0 || got.took > l.duration {
					t.Errorf("%d of %d requests in %s, error %v", n, got.answered, got.took, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("error %v, want one that names %q", err, tc.fault)
			}
		})
	}
}

// newLoad is a short load on a server that answers so.
func newLoad(t *testing.T, answer func(http.ResponseWriter, string)) load {
	t.Helper()
	c, err := newCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct {
				UID string `json:"uid"`
			} `json:"request"`
		}
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(b, &review)
		}
		if err != nil {
			t.Error(err)
		}
		answer(w, review.Request.UID)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	req, err := newRequest()
	if err != nil {
		t.Fatal(err)
	}
	return load{
		addr: s.Listener.Addr().String(), roots: c.roots, request: req, check: checkOurs,
		inFlight: 2, warmUp: 10 * time.Millisecond, duration: 200 * time.Millisecond,
	}
}
