// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"helm.sh/helm/v4/pkg/registry"
)

const (
	maxIndex   = 64 << 20  // CAST AI's has 3 MB
	maxArchive = 100 << 20 // what Helm allows a chart to unpack to
)

// client gives requests that end with ctx, and answers that end after limit
// bytes. It obeys HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and tries again when a
// server is busy, both through Helm's transport.
func client(ctx context.Context, limit int64) *http.Client {
	return &http.Client{Transport: bounded{ctx, limit, registry.NewTransport(false)}}
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
	answer, err := b.next.RoundTrip(r.WithContext(b.ctx))
	if err != nil {
		return nil, err
	}
	answer.Body = http.MaxBytesReader(nil, answer.Body, b.limit)
	return answer, nil
}

// get fetches a file. It fails on any answer but 200, on one that is larger than
// limit, and on one that is cut off.
func get(ctx context.Context, from string, limit int64) ([]byte, error) {
	r, err := http.NewRequest(http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "privatelink")
	answer, err := client(ctx, limit).Do(r)
	if err != nil {
		return nil, err // names the method and the URL
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %w", redacted(from), status(answer.StatusCode))
	}
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", redacted(from), tooLarge(err))
	}
	return data, nil
}

// status is an answer other than 200.
type status int

func (s status) Error() string {
	return fmt.Sprintf("the server answers %d %s", int(s), http.StatusText(int(s)))
}

// tooLarge replaces the error that the standard library words as "request body
// too large".
func tooLarge(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("the answer is larger than %d MiB: this is no chart", e.Limit>>20)
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
