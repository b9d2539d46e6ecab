// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// What the transport changes in responses: the rest is as the registry sent it.
func TestResponsesThatAreChanged(t *testing.T) {
	const manifest, blob, content = "/v2/a/manifests/v1", "/v2/a/blobs/uploads/1", "content"
	same, other := digest.FromString(content).String(), digest.FromString("other").String()
	for name, tc := range map[string]struct {
		method, path string
		forORAS      bool
		status       int
		digest       string // that the response reports
		withoutSize  bool
		reads        int // of what was written
		wantSize     int64
		wantStatus   int
	}{
		"a manifest is written":                      {method: "PUT", path: manifest, status: 201, wantSize: 7, wantStatus: 201},
		"and has its digest":                         {method: "PUT", path: manifest, status: 201, digest: same, wantSize: 7, wantStatus: 201},
		"and has another":                            {method: "PUT", path: manifest, status: 201, digest: other, reads: 1, wantSize: 7, wantStatus: 201},
		"and may be":                                 {method: "PUT", path: manifest, status: 202, reads: 1, wantSize: 7, wantStatus: 201},
		"and is not":                                 {method: "PUT", path: manifest, status: 300, wantSize: 7, wantStatus: 300},
		"a blob is written":                          {method: "PUT", path: blob, status: 202, wantSize: 7, wantStatus: 202},
		"a manifest is deleted":                      {method: "DELETE", path: manifest, status: 202, wantSize: 7, wantStatus: 202},
		"a manifest has a size":                      {method: "GET", path: manifest, forORAS: true, status: 200, wantSize: 7, wantStatus: 200},
		"a manifest without a size, for the library": {method: "GET", path: manifest, forORAS: true, status: 200, withoutSize: true, wantSize: 7, wantStatus: 200},
		"a manifest without a size, for the client":  {method: "GET", path: manifest, status: 200, withoutSize: true, wantSize: -1, wantStatus: 200},
		"a blob without a size":                      {method: "GET", path: blob, forORAS: true, status: 200, withoutSize: true, wantSize: -1, wantStatus: 200},
	} {
		t.Run(name, func(t *testing.T) {
			reads := -1 // but for the request itself
			transport := &protocolTransport{secrets: &secrets{}, base: roundTripper(func(req *http.Request) (*http.Response, error) {
				resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(content)), ContentLength: int64(len(content))}
				if reads++; reads > 0 {
					return resp, nil
				}
				resp.StatusCode = tc.status
				if tc.digest != "" {
					resp.Header.Set("Docker-Content-Digest", tc.digest)
				}
				if tc.withoutSize {
					resp.ContentLength = -1
				}
				return resp, nil
			})}
			ctx := t.Context()
			if tc.forORAS {
				ctx = context.WithValue(ctx, forORAS{}, true)
			}
			req, err := http.NewRequestWithContext(ctx, tc.method, "https://r.example.com"+tc.path, strings.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.wantStatus || resp.ContentLength != tc.wantSize || reads != tc.reads {
				t.Errorf("status %d, %d bytes, %d reads; want %d, %d, %d", resp.StatusCode, resp.ContentLength, reads, tc.wantStatus, tc.wantSize, tc.reads)
			}
		})
	}
}

// A manifest that the registry may have taken is read until it is there.
func TestWritesThatAreConfirmedLater(t *testing.T) {
	const content = "content"
	ok := func(status int, text string) func() (*http.Response, error) {
		return func() (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
		}
	}
	fails := func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	for name, tc := range map[string]struct {
		read  func() (*http.Response, error) // the answers before there is the manifest
		count int                            // of them
		reads int
		want  error
	}{
		"at once":                              {ok(404, ""), 0, 1, nil},
		"after a while":                        {ok(404, ""), 2, 3, nil},
		"after errors":                         {fails, 4, 5, nil},
		"never":                                {ok(404, ""), 9, 5, errNotStored},
		"never, but another":                   {ok(200, "other"), 9, 5, errNotStored},
		"never, but an error of the same text": {ok(404, content), 9, 5, errNotStored},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reads := -1 // but for the write
				transport := &protocolTransport{secrets: &secrets{}, base: roundTripper(func(*http.Request) (*http.Response, error) {
					switch reads++; {
					case reads == 0:
						return ok(202, "")()
					case reads <= tc.count:
						return tc.read()
					default:
						return ok(200, content)()
					}
				})}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://r.example.com/v2/a/manifests/v1", strings.NewReader(content))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := transport.RoundTrip(req); !errors.Is(err, tc.want) || reads != tc.reads {
					t.Errorf("%v after %d reads, want %v after %d", err, reads, tc.want, tc.reads)
				}
			})
		})
	}
}

func TestContentThatIsNotCompressedAsItSays(t *testing.T) {
	repository := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "this is not compressed")
	})
	if _, _, err := New(Options{}).Fetch(t.Context(), repository, "v1"); !errors.Is(err, gzip.ErrHeader) {
		t.Errorf("error %v", err)
	}
}

func TestSecretsInErrorsOfAnyStatus(t *testing.T) {
	s := &secrets{}
	remembered := s.remember(func(context.Context, string) (auth.Credential, error) {
		return auth.Credential{Username: "user", Password: "a-password"}, nil
	})
	if _, err := remembered(t.Context(), "r.example.com"); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{400, 401, 403, 500} {
		transport := &protocolTransport{secrets: s, base: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"errors":[{"code":"X","message":"the password is a-password"}]}`))}, nil
		})}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://r.example.com/v2/a/manifests/v1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if details := fmt.Sprint(errorDetails(resp)); strings.Contains(details, "a-password") || !strings.Contains(details, "the password is") {
			t.Errorf("%d: %s", status, details)
		}
	}
}
