// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// ResponseError is a response of a registry, or of its token endpoint, whose status
// is not the expected one.
type ResponseError struct {
	Method     string
	URL        string // without credentials and query
	StatusCode int
	Details    []ErrorDetail

	authScheme string // of the request; "" if it was anonymous
}

// ErrorDetail is one of the errors in the body of a response.
type ErrorDetail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *ResponseError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: status %d %s", e.Method, e.URL, e.StatusCode, http.StatusText(e.StatusCode))
	for _, d := range e.Details {
		for _, s := range []string{d.Code, d.Message} {
			if s != "" {
				b.WriteString(": " + s)
			}
		}
	}
	return b.String()
}

// expectStatus returns an error, and closes the body, unless the response has one of
// the expected statuses.
func expectStatus(resp *http.Response, expected ...int) error {
	if slices.Contains(expected, resp.StatusCode) {
		return nil
	}
	e := newResponseError(resp)
	_ = resp.Body.Close() // it was read as far as necessary
	return e
}

func newResponseError(resp *http.Response) *ResponseError {
	scheme, _, _ := strings.Cut(resp.Request.Header.Get("Authorization"), " ")
	return &ResponseError{Method: resp.Request.Method, URL: withoutURLSecrets(resp.Request.URL.String()),
		StatusCode: resp.StatusCode, Details: errorDetails(resp), authScheme: scheme}
}

// fromORAS converts the error responses of oras-go, and drops what oras-go adds.
func fromORAS(err error) error {
	var r *errcode.ErrorResponse
	if !errors.As(err, &r) {
		return err
	}
	e := &ResponseError{Method: r.Method, StatusCode: r.StatusCode}
	if r.URL != nil {
		e.URL = withoutURLSecrets(r.URL.String())
	}
	for _, d := range r.Errors {
		e.Details = append(e.Details, ErrorDetail{d.Code, d.Message})
	}
	return e
}

const (
	// maxErrorBody bounds what is read of the body of an error response.
	maxErrorBody = 64 << 10
	// maxErrorDetails and maxErrorMessage bound what is printed of it.
	maxErrorDetails = 5
	maxErrorMessage = 500
)

// errorDetails returns the errors in the body of a response, without secrets. It
// replaces the body by them, in the form of the distribution specification, so that
// oras-go and a second call find them.
func errorDetails(resp *http.Response) []ErrorDetail {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // a part is better than nothing
	_ = resp.Body.Close()
	details := parseErrorBody(resp.Header.Get("Content-Type"), body)
	setErrorDetails(resp, details)
	return details
}

func setErrorDetails(resp *http.Response, details []ErrorDetail) {
	text, _ := json.Marshal(map[string]any{"errors": details}) // strings cannot fail
	resp.Header.Set("Content-Type", "application/json")
	resp.ContentLength = int64(len(text))
	resp.Body = io.NopCloser(bytes.NewReader(text))
}

// parseErrorBody finds codes and messages in the body of an error response. The
// distribution specification has one form; token endpoints and proxies have others.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
func parseErrorBody(contentType string, body []byte) (details []ErrorDetail) {
	var document any
	if json.Unmarshal(body, &document) == nil {
		details = appendDetails(nil, document, 0)
	} else if text := strings.TrimSpace(string(body)); text != "" {
		mediaType, _, _ := mime.ParseMediaType(contentType) // "" for an invalid one
		if strings.HasPrefix(text, "<") || strings.HasSuffix(mediaType, "html") {
			text = "the response is a web page or XML, which a proxy or a firewall may have sent"
		}
		details = []ErrorDetail{{Message: text}}
	}
	details = slices.DeleteFunc(details, func(d ErrorDetail) bool { return d == ErrorDetail{} })
	details = details[:min(len(details), maxErrorDetails)]
	for i, d := range details {
		details[i] = ErrorDetail{oneLine(d.Code), oneLine(d.Message)}
	}
	return details
}

// appendDetails walks the values under which servers put their errors.
func appendDetails(all []ErrorDetail, v any, depth int) []ErrorDetail {
	if depth > 3 {
		return all
	}
	switch v := v.(type) {
	case string:
		return append(all, ErrorDetail{Message: v})
	case []any:
		for _, item := range v {
			all = appendDetails(all, item, depth+1)
		}
	case map[string]any:
		d := ErrorDetail{Code: scalar(v["code"])}
		for _, name := range []string{"message", "error_description", "details", "detail", "title"} {
			if d.Message == "" {
				d.Message, _ = v[name].(string)
			}
		}
		if d != (ErrorDetail{}) {
			return append(all, d)
		}
		for _, name := range []string{"errors", "error"} {
			all = appendDetails(all, v[name], depth+1)
		}
	}
	return all
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return fmt.Sprint(v)
	}
	return ""
}

// oneLine returns text without control characters, and not longer than an error
// message should be.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if runes := []rune(text); len(runes) > maxErrorMessage {
		text = string(runes[:maxErrorMessage]) + "…"
	}
	return text
}

// urlInText matches a URL, with its credentials and its query.
var urlInText = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s"'/?]*@)?([^\s"'?]*)(?:\?[^\s"']*)?`)

// withoutURLSecrets removes the credentials and the query of each URL in a text. The
// query of a signed URL grants access.
func withoutURLSecrets(text string) string { return urlInText.ReplaceAllString(text, "$1$2") }

// minSecret is the length from which on a text is treated as a secret. Shorter ones
// would remove ordinary words from messages.
const minSecret = 4

// secrets removes the passwords and tokens of a client from messages of servers,
// which may repeat what they received.
type secrets struct {
	mu  sync.Mutex
	all map[string]bool
}

// remember returns a function that records the credentials that f returns.
func (s *secrets) remember(f auth.CredentialFunc) auth.CredentialFunc {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, host string) (auth.Credential, error) {
		c, err := f(ctx, host)
		s.add(c.Password, c.RefreshToken, c.AccessToken)
		if c.Password != "" {
			s.add(base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password)))
		}
		return c, err
	}
}

func (s *secrets) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]bool{}
	}
	for _, t := range texts {
		if len(t) >= minSecret {
			s.all[t], s.all[url.QueryEscape(t)] = true, true
		}
	}
}

// redact replaces the known secrets, and those of the request: its token, and the
// values that sign the URL of a storage service.
func (s *secrets) redact(text string, req *http.Request) string {
	if !strings.HasPrefix(req.URL.Path, "/v2/") {
		for name, values := range req.URL.Query() {
			for _, v := range values {
				if len(v) >= minSecret && name != "service" && name != "scope" {
					text = strings.ReplaceAll(text, v, "REDACTED")
				}
			}
		}
	}
	if _, token, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok && len(token) >= minSecret {
		text = strings.ReplaceAll(text, token, "REDACTED")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret := range s.all {
		text = strings.ReplaceAll(text, secret, "REDACTED")
	}
	return withoutURLSecrets(text)
}
