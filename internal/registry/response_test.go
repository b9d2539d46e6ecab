// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestParseErrorBody(t *testing.T) {
	long := strings.Repeat("x", 2*maxErrorMessage)
	for name, tc := range map[string]struct {
		contentType, body string
		want              []ErrorDetail
	}{
		"the specification":     {"application/json", `{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}},{"code":"X"}]}`, []ErrorDetail{{"DENIED", "no"}, {Code: "X"}}},
		"one error":             {"", `{"errors":{"code":"DENIED","message":"no"}}`, []ErrorDetail{{"DENIED", "no"}}},
		"texts":                 {"", `{"errors":["no","never"]}`, []ErrorDetail{{Message: "no"}, {Message: "never"}}},
		"a number as code":      {"", `{"errors":[{"code":403,"message":"no"}]}`, []ErrorDetail{{"403", "no"}}},
		"a message alone":       {"", `{"message":"no"}`, []ErrorDetail{{Message: "no"}}},
		"details of Docker Hub": {"", `{"details":"incorrect username or password"}`, []ErrorDetail{{Message: "incorrect username or password"}}},
		"OAuth":                 {"", `{"error":"invalid_grant"}`, []ErrorDetail{{Message: "invalid_grant"}}},
		"nested":                {"", `{"error":{"code":5,"message":"no"}}`, []ErrorDetail{{"5", "no"}}},
		"text":                  {"text/plain", "no\x1b[31m\nnever\n", []ErrorDetail{{Message: "no [31m never"}}},
		"a page":                {"text/html; charset=utf-8", "<html>secret", []ErrorDetail{{Message: "the response is a web page or XML, which a proxy or a firewall may have sent"}}},
		"XML":                   {"application/xml", "<Error>secret", []ErrorDetail{{Message: "the response is a web page or XML, which a proxy or a firewall may have sent"}}},
		"the text of a page":    {"text/html", "secret", []ErrorDetail{{Message: "the response is a web page or XML, which a proxy or a firewall may have sent"}}},
		"as deep as is read":    {"", `[[["no"]],{"errors":{"error":"never"}}]`, []ErrorDetail{{Message: "no"}, {Message: "never"}}},
		"deeper lists":          {"", `[[[["no"]]]]`, nil},
		"deeper errors":         {"", `{"errors":{"errors":{"errors":{"errors":"no"}}}}`, nil},
		"a page without text":   {"text/html", " ", nil},
		"empty":                 {"", "", nil},
		"other JSON":            {"", `{"errors":[],"error":null,"x":[1]}`, nil},
		"a long text":           {"", `{"message":"` + long + `"}`, []ErrorDetail{{Message: long[:maxErrorMessage] + "…"}}},
		"many":                  {"", `["1","2","3","4","5","6"]`, []ErrorDetail{{Message: "1"}, {Message: "2"}, {Message: "3"}, {Message: "4"}, {Message: "5"}}},
	} {
		got := parseErrorBody(tc.contentType, []byte(tc.body))
		if diff := cmp.Diff(tc.want, got); diff != "" && len(got)+len(tc.want) > 0 {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzParseErrorBody(f *testing.F) {
	for _, seed := range []string{`{"errors":[{"code":"DENIED","message":"no"}]}`, `{"error":{"error":{"error":{"message":"x"}}}}`, `[[[["x"]]]]`, "text", "<html>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		details := parseErrorBody("", []byte(body))
		if len(details) > maxErrorDetails {
			t.Errorf("%d details", len(details))
		}
		for _, d := range details {
			if strings.ContainsAny(d.Code+d.Message, "\n\r\t\x1b") || len([]rune(d.Message)) > maxErrorMessage+1 {
				t.Errorf("%q", d)
			}
		}
	})
}

func TestOneLine(t *testing.T) {
	longest := strings.Repeat("é", maxErrorMessage)
	for text, want := range map[string]string{"a\r\n\tb\x1b[0m": "a b [0m", longest: longest, longest + "x": longest + "…"} {
		if got := oneLine(text); got != want {
			t.Errorf("%.20q: %q, want %q", text, got, want)
		}
	}
}

// What is not secret is not replaced, because a short text may be anywhere.
func TestRedact(t *testing.T) {
	for name, tc := range map[string]struct {
		url, authorization string
		password           string
		text, want         string
	}{
		"the password":              {"https://r.example.com/v2/a", "", "pass", "a pass", "a REDACTED"},
		"a password of three":       {"https://r.example.com/v2/a", "", "pas", "a pas", "a pas"},
		"the token of the request":  {"https://r.example.com/v2/a", "Bearer tokn", "", "a tokn", "a REDACTED"},
		"a token of three":          {"https://r.example.com/v2/a", "Bearer tok", "", "a tok", "a tok"},
		"the signature of a URL":    {"https://s.example.com/a?sig=sign", "", "", "a sign", "a REDACTED"},
		"a signature of three":      {"https://s.example.com/a?sig=sig", "", "", "a sig", "a sig"},
		"the service of a token":    {"https://r.example.com/token?service=registry", "", "", "a registry", "a registry"},
		"the scope of a token":      {"https://r.example.com/token?scope=pull", "", "", "a pull", "a pull"},
		"the query of the registry": {"https://r.example.com/v2/a?from=library", "", "", "a library", "a library"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", tc.authorization)
		s := &secrets{}
		s.add(tc.password)
		if got := s.redact(tc.text, req); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestTextsOfErrorResponses(t *testing.T) {
	address, err := url.Parse("https://user:secret@r.example.com/v2/a?token=secret")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		response errcode.ErrorResponse
		want     string
	}{
		"a code and a message": {errcode.ErrorResponse{Method: "GET", URL: address, StatusCode: 404, Errors: errcode.Errors{{Code: "NAME_UNKNOWN", Message: "no such"}}}, "GET https://r.example.com/v2/a: status 404 Not Found: NAME_UNKNOWN: no such"},
		"a message":            {errcode.ErrorResponse{Method: "GET", URL: address, StatusCode: 403, Errors: errcode.Errors{{Message: "no"}, {Message: "never"}}}, "GET https://r.example.com/v2/a: status 403 Forbidden: no: never"},
		"neither":              {errcode.ErrorResponse{Method: "PUT", StatusCode: 500}, "PUT : status 500 Internal Server Error"},
	} {
		if got := fromORAS(fmt.Errorf("oras: %w", &tc.response)).Error(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := fromORAS(io.EOF); got != io.EOF {
		t.Errorf("an error without a response: %v", got)
	}
}

func TestWithoutURLSecrets(t *testing.T) {
	for text, want := range map[string]string{
		`Get "https://user:secret@r.example/v2/?X-Signature=secret": EOF`: `Get "https://r.example/v2/": EOF`,
		`http://secret@r.example:5000`:                                    `http://r.example:5000`,
		`see https://r.example/a@b and user@c.example`:                    `see https://r.example/a@b and user@c.example`,
		`r.example/a@sha256:0`:                                            `r.example/a@sha256:0`,
	} {
		if got := withoutURLSecrets(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Errors contain neither credentials nor tokens, wherever the registry repeats them.
func TestErrorsHaveNoSecrets(t *testing.T) {
	const password, token = "secret-password", "secret-token"
	credential := func(context.Context, string) (auth.Credential, error) {
		return auth.Credential{Username: "user", Password: password}, nil
	}
	echo := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"refused %s, %s %s and https://u:%s@r.example/?key=%s"}]}`,
				r.Header.Get("Authorization"), password, basic("user:"+password), password, token)
		}
	}
	bearer := func(realm string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	basicThenEcho := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		echo(http.StatusForbidden)(w, r)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"a body repeats the credentials": basicThenEcho,
		"a body repeats the token": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"token":"`+token+`"}`)
			case r.Header.Get("Authorization") == "":
				bearer("/token")(w, r)
			default:
				echo(http.StatusForbidden)(w, r)
			}
		},
		"the token endpoint repeats the password": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				echo(http.StatusUnauthorized)(w, r)
				return
			}
			bearer("/token")(w, r)
		},
		"the realm has a password":    bearer("ftp://user:" + password + "@r.example/token?key=" + token),
		"the realm cannot be reached": bearer("http://user:" + password + "@127.0.0.1:1/token?key=" + token),
		"the response redirects to a signed URL": func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "storage") {
				w.WriteHeader(http.StatusForbidden)
				_, _ = fmt.Fprintf(w, `{"message":"%s has expired"}`, r.URL.RawQuery)
				return
			}
			http.Redirect(w, r, "/storage?signature="+token, http.StatusTemporaryRedirect)
		},
		"an upload is redirected without TLS": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://user:"+password+"@storage.example/?signature="+token)
			w.WriteHeader(http.StatusAccepted)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			c := New(Options{Credential: credential})
			repository := strings.TrimPrefix(server.URL, "http://") + "/a"
			d := descriptorOf("content")
			var requests sync.WaitGroup
			for _, request := range []func() error{
				func() error { _, err := c.Resolve(t.Context(), repository, "v1"); return err },
				func() error { _, err := c.Manifest(t.Context(), repository, d); return err },
				func() error { _, err := c.Blob(t.Context(), repository, d); return err },
				func() error { _, err := c.Referrers(t.Context(), repository, d); return err },
				func() error { _, err := c.Mount(t.Context(), repository, repository+"b", d); return err },
				func() error { return c.PutManifest(t.Context(), repository, d, []byte("content"), "v1") },
				func() error { return c.Upload(t.Context(), repository, d, strings.NewReader("content")) },
			} {
				requests.Go(func() {
					text := fmt.Sprint(request())
					if strings.Contains(text, password) || strings.Contains(text, token) || strings.Contains(text, basic("user:"+password)) {
						t.Errorf("the error has a secret: %s", text)
					}
				})
			}
			requests.Wait()
		})
	}
}

func TestRemedies(t *testing.T) {
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	plain := fakeregistry.Start(t)
	basicOnly := fakeregistry.Start(t)
	basicOnly.SetFault(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	})
	for name, tc := range map[string]struct {
		host      string
		plainHTTP bool
		want      string
		class     error
	}{
		"the authority is unknown":     {strings.TrimPrefix(tls.URL, "https://"), false, "SSL_CERT_FILE", nil},
		"the registry has no TLS":      {plain.Host, false, "--plain-http " + plain.Host, nil},
		"a login is necessary":         {basicOnly.Host, true, "docker login " + basicOnly.Host, ErrAuth},
		"the host name does not exist": {"registry.invalid", false, "registry.invalid", nil},
	} {
		_, err := New(Options{PlainHTTP: func(string) bool { return tc.plainHTTP }}).Resolve(t.Context(), tc.host+"/a", "v1")
		if err == nil || !strings.Contains(err.Error(), tc.want) || tc.class != nil && !errors.Is(err, tc.class) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
