// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"helm.sh/helm/v4/pkg/registry"
)

const (
	maxIndex   = 64 << 20  // CAST AI's has 3 MB
	maxArchive = 100 << 20 // what Helm allows a chart to unpack to
)

// client gives requests that end with ctx, and responses that end after limit
// bytes. It obeys HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and retries when a
// server is busy, both through Helm's transport.
func client(ctx context.Context, limit int64) *http.Client {
	return &http.Client{Transport: bounded{ctx, limit, registry.NewTransport(false)}, CheckRedirect: redirect}
}

// maxRedirects is the limit of Go's own client.
const maxRedirects = 10

// redirect removes the credentials from a request that leaves the origin. Go itself
// keeps them for another port and for subdomains.
func redirect(next *http.Request, previous []*http.Request) error {
	if len(previous) >= maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if !isSameOrigin(next.URL, previous[0].URL) {
		next.Header.Del("Authorization")
	}
	return nil
}

// isSameOrigin reports whether both have the same scheme, host and port.
func isSameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// port returns the port of a URL; some repositories name the default in redirects.
func port(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// bounded brings a context and a limit to Helm's registry client, which has
// neither.
type bounded struct {
	ctx   context.Context
	limit int64
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r.WithContext(b.ctx))
	if err != nil {
		return nil, err
	}
	response.Body = http.MaxBytesReader(nil, response.Body, b.limit)
	return response, nil
}

// get fetches a file. It fails on any response but 200, on one that is larger than
// limit, and on one that is cut off.
func get(ctx context.Context, from string, limit int64) ([]byte, error) {
	r, err := getChanged(ctx, from, limit, validators{})
	return r.body, err
}

// validators are what a server names a version of a file by (RFC 9110, section 8.8).
type validators struct{ ETag, LastModified string }

// fetched is a file, or that it is the one of the validators.
type fetched struct {
	body       []byte
	validators validators
	unchanged  bool
}

// getChanged is get for a file that is known already, unless known is empty.
func getChanged(ctx context.Context, from string, limit int64, known validators) (fetched, error) {
	r, err := http.NewRequest(http.MethodGet, from, http.NoBody)
	if err != nil {
		return fetched{}, err
	}
	r.Header.Set("User-Agent", "privatelink")
	if known.ETag != "" { // a weak one as well: the content is what counts
		r.Header.Set("If-None-Match", known.ETag)
	} else if known.LastModified != "" {
		r.Header.Set("If-Modified-Since", known.LastModified)
	}
	if user := r.URL.User; user != nil {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password) // survives a redirect within the origin
	}
	response, err := client(ctx, limit).Do(r)
	if err != nil {
		return fetched{}, err // names the method and the URL
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotModified && known != (validators{}) {
		return fetched{validators: known, unchanged: true}, nil
	}
	if response.StatusCode != http.StatusOK {
		return fetched{}, fmt.Errorf("get %s: %w", route(from, response), status(response.StatusCode))
	}
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return fetched{}, fmt.Errorf("get %s: %w", route(from, response), tooLarge(err))
	}
	return fetched{body: data, validators: validators{response.Header.Get("ETag"), response.Header.Get("Last-Modified")}}, nil
}

// route names the address, and the one that a redirect led to.
func route(from string, response *http.Response) string {
	if last := response.Request.URL.Redacted(); last != redacted(from) {
		return redacted(from) + ", redirected to " + last
	}
	return redacted(from)
}

// status is a response other than 200.
type status int

func (s status) Error() string {
	return fmt.Sprintf("the server answers %d %s", int(s), http.StatusText(int(s)))
}

// tooLarge replaces the error that the standard library words as "request body
// too large".
func tooLarge(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("the response is larger than %d MiB: see whether the URL is right", e.Limit>>20)
	}
	return err
}

// redacted is a URL as it may be shown: it may hold a password.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	return u.Redacted()
}
