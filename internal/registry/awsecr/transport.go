// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Transport returns a transport that adds an authorization header to requests to
// ECR registries. Without it, a client learns from a 401 that it has to
// authenticate, which fails in runs that outlast a token: ECR responds to an
// expired token with 403, after which clients do not authenticate again, and the
// body of an upload cannot be sent twice. The transport replaces a token after half
// of its lifetime, and a rejected token at once.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
func (l *Login) Transport(base http.RoundTripper) http.RoundTripper {
	return &authTransport{login: l, base: base}
}

type authTransport struct {
	login *Login
	base  http.RoundTripper
}

// RoundTrip sends a request, and sends it again with a new token if the registry
// responds that the token has expired.
func (a *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	// A redirect from HTTPS to HTTP must not reveal a token.
	if !rewrite.IsECRHost(req.URL.Host) || req.URL.Scheme != "https" && req.Response != nil {
		return a.base.RoundTrip(req)
	}
	r, t, err := a.token(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // required of a RoundTripper
		}
		return nil, err
	}
	resp, err := a.base.RoundTrip(withToken(req, t))
	if err != nil || !isExpired(req.Method, resp) {
		return resp, err
	}
	r.tokens.drop(t)
	retry, ok := rewind(req)
	if !ok {
		return resp, nil // the next request uses a new token
	}
	_ = resp.Body.Close() // already read
	if t, err = r.token(req.Context(), false); err != nil {
		return nil, err
	}
	return a.base.RoundTrip(withToken(retry, t))
}

// token returns the registry of a request and its current token.
func (a *authTransport) token(req *http.Request) (*Registry, token, error) {
	r, err := a.login.registry(req.Context(), req.URL.Host)
	if err != nil {
		return nil, token{}, err
	}
	t, err := r.token(req.Context(), false)
	return r, t, err
}

func withToken(req *http.Request, t token) *http.Request {
	c := req.Clone(req.Context())
	c.SetBasicAuth(t.user, t.password)
	return c
}

// rewind returns a copy of a request that was sent, with its body at the start. It
// returns false if the body cannot be read again.
func rewind(req *http.Request) (*http.Request, bool) {
	c := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		return c, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	c.Body = body
	return c, err == nil
}

const (
	// maxErrorBody is larger than the error responses of ECR.
	maxErrorBody = 64 << 10
	// maxErrorTime bounds how long their bodies are read.
	maxErrorTime = time.Minute
)

// isExpired reports whether a response rejects the token, as opposed to the
// permissions of the role. The body remains readable.
func isExpired(method string, resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		if method == http.MethodHead {
			return true // the response has no body, and a new token distinguishes the cases
		}
	case http.StatusBadRequest:
	default:
		return false
	}
	body := resp.Body
	defer time.AfterFunc(maxErrorTime, func() { _ = body.Close() }).Stop() // ends a Read that waits for data
	start, _ := io.ReadAll(io.LimitReader(body, maxErrorBody))             // the next Read has the same error
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), body), body}
	var document struct {
		Errors []struct{ Message string }
	}
	if json.Unmarshal(start, &document) != nil {
		return false
	}
	for _, e := range document.Errors {
		if strings.Contains(strings.ToLower(e.Message), "authorization token has expired") {
			return true
		}
	}
	return false
}
