// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
)

// Fault handles a request in place of the registry, which is next.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// When limits a fault to the requests that match.
func When(match func(*http.Request) bool, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if match(r) {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// Every limits a fault to each n-th of the requests that match.
func Every(n int64, match func(*http.Request) bool, f Fault) Fault {
	var count atomic.Int64
	return When(func(r *http.Request) bool { return match(r) && count.Add(1)%n == 0 }, f)
}

// IsBlob reports whether a request is for the content of a blob.
func IsBlob(r *http.Request) bool { return blobPath.MatchString(r.URL.Path) }

// IsBlobGet reports whether a request reads a blob.
func IsBlobGet(r *http.Request) bool { return r.Method == http.MethodGet && IsBlob(r) }

// Respond responds with a status and a body, after it has read the request.
func Respond(status int, body string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Abort closes the connection without a response.
func Abort(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// CutAfter sends the first n bytes of the response's body and then closes the
// connection.
func CutAfter(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		response := httptest.NewRecorder()
		next.ServeHTTP(response, r)
		maps.Copy(w.Header(), response.Header())
		w.WriteHeader(response.Code)
		body := response.Body.Bytes()
		_, _ = w.Write(body[:min(n, len(body))])
		if len(body) > n {
			_ = http.NewResponseController(w).Flush() // so that the client receives them
			panic(http.ErrAbortHandler)
		}
	}
}

// AppearLate has manifests stored, and answers the next n reads of each by the name that
// it was written under as if they were not.
func AppearLate(n int) Fault {
	var mu sync.Mutex
	hidden := map[string]int{} // reads left, by path
	isHidden := func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			hidden[r.URL.Path] = n
			return false
		}
		left := hidden[r.URL.Path]
		hidden[r.URL.Path] = max(left-1, 0)
		return left > 0
	}
	return When(isHidden, Respond(http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`))
}
