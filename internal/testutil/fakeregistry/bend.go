// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
)

// And matches requests that all of the conditions match.
func And(conditions ...func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		for _, c := range conditions {
			if !c(r) {
				return false
			}
		}
		return true
	}
}

// HasMethod matches requests with a method.
func HasMethod(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method }
}

// IsManifest reports whether a request is for a manifest.
func IsManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

func not(condition func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool { return !condition(r) }
}

func hasPath(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) }
}

func hasHost(host string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Host == host }
}

func hasContent(r *http.Request) bool { return r.ContentLength != 0 }

func isUpload(r *http.Request) bool { return uploadPath.MatchString(r.URL.Path) }

func isUploadPut(r *http.Request) bool { return r.Method == http.MethodPut && isUpload(r) }

// otherHost is another name of the registry.
func (s *Server) otherHost() string { return strings.Replace(s.Host, "127.0.0.1", "localhost", 1) }

func always(f Fault) func(*Server) Fault { return func(*Server) Fault { return f } }

// first applies a fault to the first n requests that match, and another one, or none,
// to all others.
func first(n int64, match func(*http.Request) bool, f, then Fault) Fault {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case match(r) && count.Add(1) <= n:
			f(w, r, next)
		case then != nil:
			then(w, r, next)
		default:
			next.ServeHTTP(w, r)
		}
	}
}

// record returns the response of a handler.
func record(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	response := httptest.NewRecorder()
	next.ServeHTTP(response, r)
	return response
}

// replay sends a recorded response.
func replay(w http.ResponseWriter, response *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), response.Header())
	w.WriteHeader(response.Code)
	_, _ = w.Write(response.Body.Bytes())
}

// alter changes successful responses.
func alter(change func(*httptest.ResponseRecorder)) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		response := record(r, next)
		if response.Code < http.StatusMultipleChoices {
			change(response)
		}
		replay(w, response)
	}
}

func withHeader(name, value string) Fault {
	return alter(func(r *httptest.ResponseRecorder) { r.Header().Set(name, value) })
}

func withStatus(status int) Fault {
	return alter(func(r *httptest.ResponseRecorder) { r.Code = status })
}

// chunked sends a body without its length.
func chunked(w http.ResponseWriter, r *http.Request, next http.Handler) {
	response := record(r, next)
	response.Header().Del("Content-Length")
	maps.Copy(w.Header(), response.Header())
	w.WriteHeader(response.Code)
	_ = http.NewResponseController(w).Flush() // before the length is known
	_, _ = w.Write(response.Body.Bytes())
}

// compress compresses content in transit, whether or not the client accepts it.
func compress(w http.ResponseWriter, r *http.Request, next http.Handler) {
	response := record(withoutRange(r), next)
	response.Header().Del("Content-Length")
	response.Header().Set("Content-Encoding", "gzip")
	maps.Copy(w.Header(), response.Header())
	w.WriteHeader(response.Code)
	z := gzip.NewWriter(w)
	_, _ = z.Write(response.Body.Bytes())
	_ = z.Close() // an error means that the client has gone
}

func busy(status int, retryAfter string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(status)
	}
}

// login demands the user and the password, by several headers.
func login(challenges ...string) Fault {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(User+":"+Password))
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") == want {
			next.ServeHTTP(w, r)
			return
		}
		w.Header()["Www-Authenticate"] = challenges
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// tokens demands a token of an endpoint, which any user receives.
func tokens(realm string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch {
		case r.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"any"}`)
		case r.Header.Get("Authorization") == "Bearer any":
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

// concealedRepository creates a repository with the first push. Until then it answers
// 401 to a client whose token does not permit to push.
func concealedRepository(s *Server) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		scopes := strings.Join(r.URL.Query()["scope"], " ")
		switch {
		case r.URL.Path == "/token" && strings.Contains(scopes, "push"):
			_, _ = io.WriteString(w, `{"token":"push"}`)
		case r.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"pull"}`)
		case r.Header.Get("Authorization") == "Bearer push":
			next.ServeHTTP(w, r)
		default:
			actions := "pull"
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				actions = "pull,push"
			}
			challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, s.Host)
			if repository, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/"); ok {
				challenge += fmt.Sprintf(`,scope="repository:%s:%s"`, repository, actions)
			}
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

// concealMissing demands a login, and answers a status where content is missing.
func concealMissing(status int) Fault {
	demand := login(`Basic realm="r"`)
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		demand(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			response := record(r, next)
			if response.Code == http.StatusNotFound {
				response = httptest.NewRecorder()
				response.Code = status
			}
			replay(w, response)
		}))
	}
}

// cutEach closes the connection after each n bytes, and supports ranges without
// saying so.
func cutEach(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		CutAfter(n)(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := record(withoutRange(r), next).Body.Bytes()
			writeRange(w, body, rangeStart(r), r.Header.Get("Range") != "")
		}))
	}
}

// ignoreRange sends the whole content, and advertises ranges.
func ignoreRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	response := record(withoutRange(r), next)
	response.Header().Set("Accept-Ranges", "bytes")
	replay(w, response)
}

// otherRange starts a range too late.
func otherRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body := record(withoutRange(r), next).Body.Bytes()
	start := rangeStart(r)
	if start > 0 {
		start += 10
	}
	writeRange(w, body, start, start > 0)
}

func withoutRange(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	return r
}

// rangeStart returns the first byte of a Range that extends to the end.
func rangeStart(r *http.Request) int {
	text := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	start, _ := strconv.Atoi(text) // 0 without a range
	return start
}

func writeRange(w http.ResponseWriter, body []byte, start int, isPartial bool) {
	start = min(start, len(body))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)-start))
	if isPartial {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(body)-1, len(body)))
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(body[start:])
}

// reset sends n bytes of the body and then resets the connection.
func reset(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body := record(withoutRange(r), next).Body.Bytes()
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
		_, _ = connection.Write(body[:min(n, len(body))])
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // Close sends RST
		}
		_ = connection.Close()
	}
}

func redirect(host string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, "http://"+host+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
}

// relocate changes the origin of the Location of uploads.
func relocate(origin string) Fault {
	return When(isUpload, alter(func(r *httptest.ResponseRecorder) {
		if l := r.Header().Get("Location"); strings.HasPrefix(l, "/") {
			r.Header().Set("Location", origin+l)
		}
	}))
}

// requireQuery adds a query to the Location of uploads, which the client has to keep.
func requireQuery(query string) Fault {
	return When(isUpload, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodPost && !strings.Contains(r.URL.RawQuery, query) {
			http.Error(w, `{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}`, http.StatusBadRequest)
			return
		}
		response := record(r, next)
		if l := response.Header().Get("Location"); l != "" && response.Code == http.StatusAccepted {
			response.Header().Set("Location", l+"?"+query)
		}
		replay(w, response)
	})
}

// ghost answers the referrers API with a manifest that does not exist.
func ghost(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	const mediaType = "application/vnd.oci.image.index.v1+json"
	w.Header().Set("Content-Type", mediaType)
	_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "manifests": []any{map[string]any{
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + strings.Repeat("0", 64), "size": 500}}})
}
