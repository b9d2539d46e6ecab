// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
)

// answers is a registry that opens uploads, and answers what follows with a status for each method.
func answers(log *[]string, status map[string]int) Options {
	return Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Body != nil {
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return nil, err
			}
		}
		*log = append(*log, req.Method)
		resp := &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{"Location": {"/v2/a/blobs/uploads/1"}}, Body: http.NoBody}
		if s, ok := status[req.Method]; ok && !(req.Method == http.MethodPost && req.URL.Query().Get("mount") == "") {
			resp.StatusCode, resp.Header = s, http.Header{}
		}
		return resp, nil
	})}
}

// An upload that the registry offered earlier may have expired: another one may succeed.
func TestAnswersToUploads(t *testing.T) {
	for _, tc := range []struct {
		offered bool
		status  int
		want    error
		retry   bool
	}{
		{false, 201, nil, false}, {true, 201, nil, false},
		{true, 404, ErrTransient, true}, {true, 400, ErrTransient, true}, {true, 403, ErrDenied, false},
		{false, 404, ErrNotFound, false}, {false, 403, ErrDenied, false},
		{false, 405, ErrTransient, true}, // it may take the content in another way
	} {
		t.Run(fmt.Sprintf("%d, offered %t", tc.status, tc.offered), func(t *testing.T) {
			var log []string
			c := New(answers(&log, map[string]int{http.MethodPut: tc.status}))
			d := descriptorOf("content")
			if tc.offered {
				if mounted, err := c.Mount(t.Context(), "r.example.com/a", "r.example.com/b", d); mounted || err != nil {
					t.Fatal(mounted, err)
				}
			}
			err := c.Upload(t.Context(), "r.example.com/a", d, strings.NewReader("content"))
			if !errors.Is(err, tc.want) || Retryable(err) != tc.retry {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if got := strings.Join(log, " "); got != "POST PUT" {
				t.Errorf("requests %s", got)
			}
		})
	}
}

// After a status that does not prove it, the blob is looked up until it is there.
func TestUploadsThatAreConfirmedLater(t *testing.T) {
	for name, tc := range map[string]struct {
		missing, lookups int
		want             error
	}{"at once": {0, 1, nil}, "after a while": {4, 5, nil}, "never": {99, 5, errNotStored}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log []string
				status := map[string]int{http.MethodPut: http.StatusAccepted}
				options := answers(&log, status)
				base, lookups := options.Transport, 0
				options.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
					if req.Method == http.MethodHead {
						status[http.MethodHead] = http.StatusOK
						if lookups++; lookups <= tc.missing {
							status[http.MethodHead] = http.StatusNotFound
						}
					}
					return base.RoundTrip(req)
				})
				err := New(options).Upload(t.Context(), "r.example.com/a", descriptorOf("content"), strings.NewReader("content"))
				if !errors.Is(err, tc.want) || lookups != tc.lookups {
					t.Errorf("%v after %d lookups, want %v after %d", err, lookups, tc.want, tc.lookups)
				}
			})
		})
	}
}

func TestAnswersToMounts(t *testing.T) {
	for status, want := range map[int]struct {
		mounted bool
		err     error
		log     string
	}{
		201: {true, nil, "POST"}, 202: {false, nil, "POST"}, 404: {false, nil, "POST"}, 405: {false, nil, "POST"},
		200: {true, nil, "POST HEAD"}, // the blob is looked up
		300: {false, nil, "POST"}, 403: {false, ErrDenied, "POST"},
	} {
		var log []string
		mounted, err := New(answers(&log, map[string]int{http.MethodPost: status, http.MethodHead: http.StatusOK})).
			Mount(t.Context(), "r.example.com/a", "r.example.com/b", descriptorOf("content"))
		if mounted != want.mounted || want.err != nil && !errors.Is(err, want.err) || (err != nil) != (status == 300 || want.err != nil) || strings.Join(log, " ") != want.log {
			t.Errorf("%d: %t, %v after %v", status, mounted, err, log)
		}
	}
}

func TestSizesOfBlobs(t *testing.T) {
	for size, valid := range map[int64]bool{-1: false, 0: true, 1: true} {
		d := descriptorOf("content")
		d.Size = size
		if _, err := New(Options{}).blobRepository("r.example.com/a", d); (err == nil) != valid {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestIsSameHost(t *testing.T) {
	for _, tc := range []struct {
		origin, location string
		want             bool
	}{
		{"https://r.example/v2/", "https://r.example/x", true}, {"https://r.example/v2/", "http://R.example:443/x", true}, {"https://r.example:5000/v2/", "https://r.example/x", true},
		{"http://r.example/v2/", "http://r.example:80/x", true}, {"http://r.example/v2/", "http://r.example:443/x", false},
		{"https://r.example/v2/", "https://r.example:5000/x", false}, {"https://r.example/v2/", "https://other.example/x", false},
	} {
		origin, err1 := url.Parse(tc.origin)
		location, err2 := url.Parse(tc.location)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if got := isSameHost(origin, location); got != tc.want {
			t.Errorf("%s and %s: %t", tc.origin, tc.location, got)
		}
	}
}
