// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// maxManifestSize is the largest manifest, index or page of referrers that is read.
// Registries have to accept manifests of 4 MiB, and few accept more.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests
const maxManifestSize = 8 << 20

// send sends a request without a body, for a path below the API of a repository or
// for a URL.
func (c *Client) send(ctx context.Context, r *repository, method, url string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(c.scoped(ctx, r), method, url, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header.Clone() // oras-go adds to it
	}
	// A digest is that of the stored content.
	req.Header.Set("Accept-Encoding", "identity")
	return c.http.Do(req)
}

// fetch sends a GET request for a document. It is bounded in size, and by
// stallTransport in time. A body that breaks off is requested again.
func (c *Client) fetch(ctx context.Context, r *repository, url string, header http.Header) (resp *http.Response, body []byte, err error) {
	for attempt := 1; ; attempt++ {
		resp, body, err = c.fetchOnce(ctx, r, url, header)
		if resp == nil || !isTransient(err) || attempt == maxAttempts {
			return resp, body, err
		}
		if err := Sleep(ctx, Backoff(attempt)); err != nil {
			return nil, nil, err
		}
	}
}

// fetchOnce returns no response if there is none with status 200.
func (c *Client) fetchOnce(ctx context.Context, r *repository, url string, header http.Header) (*http.Response, []byte, error) {
	resp, err := c.send(ctx, r, http.MethodGet, url, header)
	if err != nil {
		return nil, nil, err
	}
	if err := expectStatus(resp, http.StatusOK); err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.ContentLength > maxManifestSize {
		return nil, nil, tooLarge(fmt.Sprintf("%d bytes", resp.ContentLength))
	}
	body, err := readAtMost(resp.Body, maxManifestSize)
	return resp, body, err
}

// readAtMost reads all of r, or returns ErrTooLarge.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		return nil, tooLarge("more")
	}
	return text, err
}

func tooLarge(size string) error {
	return fmt.Errorf("%w: manifests and lists may have up to %d MiB, and this one has %s", ErrTooLarge, maxManifestSize>>20, size)
}
