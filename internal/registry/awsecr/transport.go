// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Transport signs requests to hosts of ECR, so that a client needs no 401 to
// learn that it has to. It matters in runs that outlast a token: ECR does not
// answer 401 then but 403, after which clients do not log in again, and the body
// of an upload cannot be sent twice. Here the token is changed at half of its
// life, between two requests, and a refused one at once.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
func (l *Login) Transport(base http.RoundTripper) http.RoundTripper {
	return &signing{login: l, base: base}
}

type signing struct {
	login *Login
	base  http.RoundTripper
}

// RoundTrip sends a request, and once more with another token if the registry
// says that the first has expired.
func (s *signing) RoundTrip(req *http.Request) (*http.Response, error) {
	// A redirect must not take a token off TLS.
	if !rewrite.IsECRHost(req.URL.Host) || req.URL.Scheme != "https" && req.Response != nil {
		return s.base.RoundTrip(req)
	}
	r, err := s.login.registry(req.Context(), req.URL.Host)
	if err != nil {
		return nil, closing(req, err)
	}
	t, err := r.token(req.Context(), false)
	if err != nil {
		return nil, closing(req, err)
	}
	resp, err := s.base.RoundTrip(signed(req, t))
	if err != nil || !expired(req.Method, resp) {
		return resp, err
	}
	again := req.Clone(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			r.tokens.drop(t)
			return resp, nil // whoever has the body has to begin anew
		}
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil
		}
	}
	r.tokens.drop(t)
	t, err = r.token(req.Context(), false)
	if err != nil {
		return resp, nil // that it was refused says more
	}
	_ = resp.Body.Close() // was read
	return s.base.RoundTrip(signed(again, t))
}

// closing closes a request's body, as a RoundTripper has to.
func closing(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

func signed(req *http.Request, t token) *http.Request {
	c := req.Clone(req.Context())
	c.SetBasicAuth(t.user, t.password)
	return c
}

// maxAnswer is more than any error of ECR has.
const maxAnswer = 64 << 10

// expired tells an answer to a token that is no longer taken from one to a role
// that may not do it. The body can still be read afterwards.
func expired(method string, resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		if method == http.MethodHead {
			return true // without a body nobody can tell, and another token can
		}
	case http.StatusBadRequest:
	default:
		return false
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), resp.Body), resp.Body}
	var answer struct {
		Errors []struct{ Message string }
	}
	if json.Unmarshal(text, &answer) != nil {
		return false
	}
	for _, e := range answer.Errors {
		if strings.Contains(strings.ToLower(e.Message), "authorization token has expired") {
			return true
		}
	}
	return false
}
