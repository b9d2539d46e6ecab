// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// session is an upload that a registry has opened.
type session struct {
	location      *url.URL
	authorization string // of the request that opened it; "" at another host
}

// sessions are the uploads that a registry offered instead of a mount.
type sessions struct {
	mu  sync.Mutex
	all map[digest.Digest]*session
}

func (s *sessions) add(d digest.Digest, opened *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[digest.Digest]*session{}
	}
	s.all[d] = opened
}

func (s *sessions) take(d digest.Digest) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	opened := s.all[d]
	delete(s.all, d)
	return opened
}

func (r *repository) blobURL(d digest.Digest) string { return r.api + "/blobs/" + d.String() }

// HasBlob reports whether a repository contains a blob.
func (c *Client) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	r, err := c.blobRepository(repository, d)
	if err != nil {
		return false, fmt.Errorf("checking %s@%s: %w", repository, d.Digest, err)
	}
	found, err := c.hasBlob(ctx, r, d)
	err = c.wrapError(err, "checking", r, d.Digest.String())
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return found, err
}

func (c *Client) hasBlob(ctx context.Context, r *repository, d ocispec.Descriptor) (bool, error) {
	resp, err := c.send(ctx, r, http.MethodHead, r.blobURL(d.Digest), nil)
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close() // of HEAD: empty
	if refusesMethod(resp.StatusCode) {
		return false, nil // an upload works without knowing
	}
	return resp.StatusCode == http.StatusOK, expectStatus(resp, http.StatusOK)
}

// refusesMethod reports whether a registry rejects a request as such, because it
// does not support an optional part of the specification.
func refusesMethod(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return true
	}
	return false
}

// blobRepository returns a repository for a descriptor that is valid.
func (c *Client) blobRepository(repository string, d ocispec.Descriptor) (*repository, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, err
	}
	if d.Size < 0 {
		return nil, fmt.Errorf("invalid size %d", d.Size)
	}
	return c.repository(repository)
}

// Upload writes a blob. The registry discards it if the content ends early, ends
// with an error or has another digest. An upload that the registry offered instead
// of a mount is used.
func (c *Client) Upload(ctx context.Context, repository string, d ocispec.Descriptor, content io.Reader) error {
	c = c.ForPush()
	r, err := c.blobRepository(repository, d)
	if err != nil {
		return fmt.Errorf("uploading %s to %s: %w", d.Digest, repository, err)
	}
	return c.wrapError(c.upload(ctx, r, d, content), "uploading to", r, d.Digest.String())
}

func (c *Client) upload(ctx context.Context, r *repository, d ocispec.Descriptor, content io.Reader) (err error) {
	s := r.sessions.take(d.Digest)
	isOffered := s != nil
	if !isOffered {
		if s, err = c.openSession(c.scoped(ctx, r), r); err != nil {
			return err
		}
	}
	if r.host.chunked.Load() {
		if s, err = c.patch(ctx, s, d.Size, content); err != nil {
			return err
		}
		content = nil
	}
	size := d.Size
	if content == nil {
		size = 0
	}
	resp, err := c.sendContent(ctx, http.MethodPut, s, withDigest(s.location, d.Digest), size, content)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch status := resp.StatusCode; {
	case status == http.StatusCreated:
		return nil
	case status < http.StatusMultipleChoices:
		return c.verifyUpload(ctx, r, d, status)
	case content != nil && refusesContent(status):
		r.host.chunked.Store(true)
		return fmt.Errorf("%w: the registry does not accept a blob in one request: %w", ErrTransient, newResponseError(resp))
	case isOffered && (status == http.StatusNotFound || status == http.StatusBadRequest):
		return fmt.Errorf("%w: the offered upload has expired: %w", ErrTransient, newResponseError(resp))
	}
	return newResponseError(resp)
}

// refusesContent reports whether a status to PUT may mean that the registry accepts
// content only by PATCH, as docker sends it.
func refusesContent(status int) bool {
	switch status {
	case http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return true
	}
	return false
}

// verifyUpload checks that a blob exists after a status that does not prove it.
func (c *Client) verifyUpload(ctx context.Context, r *repository, d ocispec.Descriptor, status int) error {
	for attempt := 1; ; attempt++ {
		found, err := c.hasBlob(ctx, r, d)
		if found {
			return nil
		}
		if attempt == maxAttempts {
			return errors.Join(fmt.Errorf("%w: it answered status %d", errNotStored, status), err)
		}
		if err := Sleep(ctx, Backoff(attempt)); err != nil {
			return err
		}
	}
}

// openSession opens an upload.
func (c *Client) openSession(ctx context.Context, r *repository) (*session, error) {
	resp, err := c.post(ctx, r.api+"/blobs/uploads/")
	if err != nil {
		return nil, err
	}
	if err := expectStatus(resp, http.StatusAccepted, http.StatusOK, http.StatusCreated, http.StatusNoContent); err != nil {
		return nil, err
	}
	_ = resp.Body.Close() // not used
	return c.sessionOf(resp)
}

func (c *Client) post(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return c.http.Do(req)
}

// patch sends the content of an upload, which a PUT without content completes.
func (c *Client) patch(ctx context.Context, s *session, size int64, content io.Reader) (*session, error) {
	resp, err := c.sendContent(ctx, http.MethodPatch, s, s.location, size, content)
	if err != nil {
		return nil, err
	}
	if err := expectStatus(resp, http.StatusAccepted, http.StatusOK, http.StatusCreated, http.StatusNoContent); err != nil {
		return nil, err
	}
	_ = resp.Body.Close() // not used
	if resp.Header.Get("Location") == "" {
		return s, nil
	}
	return c.sessionOf(resp)
}

// sendContent sends the content of a blob, which cannot be sent again. Only the body
// of an error may be read: after other responses, the request's context has ended.
func (c *Client) sendContent(ctx context.Context, method string, s *session, to *url.URL, size int64, content io.Reader) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // protocolTransport has read the body of an error
	var body io.Reader = http.NoBody
	if size > 0 {
		sent := newSentContent(content, cancel, c.opts)
		defer sent.watchdog.Stop()
		body = sent
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/octet-stream")
	do := c.http.doAnonymous
	if s.authorization != "" {
		// The credentials of the session, because a 401 would come after the content.
		req.Header.Set("Authorization", s.authorization)
		do = c.http.Do
	}
	resp, err := do(req)
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		err = errStalled
	}
	return resp, err
}

// sessionOf returns the upload of a response.
func (c *Client) sessionOf(resp *http.Response) (*session, error) {
	location, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return nil, errors.New("the registry opened an upload without a valid Location")
	}
	location.User, location.Fragment = nil, ""
	origin := resp.Request.URL
	if isSameHost(origin, location) {
		location.Scheme, location.Host = origin.Scheme, origin.Host
		return &session{location: location, authorization: resp.Request.Header.Get("Authorization")}, nil
	}
	if location.Scheme != "https" && !c.opts.PlainHTTP(location.Host) {
		return nil, fmt.Errorf("the registry redirects the upload to %s without TLS: use --plain-http %s to allow it", location.Host, location.Host)
	}
	return &session{location: location}, nil
}

// isSameHost reports whether a Location is that of the registry. Behind a proxy,
// registries omit the port or name the wrong scheme:
// https://github.com/containers/skopeo/issues/2055.
func isSameHost(origin, location *url.URL) bool {
	return strings.EqualFold(origin.Hostname(), location.Hostname()) &&
		(location.Port() == "" || location.Port() == portOf(origin))
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

// withDigest adds the digest to the query of a Location, which stays as it is: its
// values may be signed.
func withDigest(location *url.URL, d digest.Digest) *url.URL {
	u := *location
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(d.String())
	return &u
}

// Mount makes a blob of another repository in the same registry available in a
// repository. It returns false without an error if the registry does not mount
// the blob. If the registry offers an upload instead, the next Upload uses it.
func (c *Client) Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error) {
	c = c.ForPush()
	r, err := c.blobRepository(repository, d)
	if err != nil {
		return false, fmt.Errorf("mounting %s in %s: %w", d.Digest, repository, err)
	}
	source, err := c.repository(from)
	if err != nil {
		return false, err
	}
	mounted, err := c.mount(ctx, r, source, d)
	return mounted, c.wrapError(err, "mounting in", r, d.Digest.String())
}

func (c *Client) mount(ctx context.Context, r, source *repository, d ocispec.Descriptor) (bool, error) {
	scoped := auth.AppendRepositoryScope(c.scoped(ctx, r), source.reference, auth.ActionPull)
	query := url.Values{"mount": {d.Digest.String()}, "from": {source.reference.Repository}}
	resp, err := c.post(scoped, r.api+"/blobs/uploads/?"+query.Encode())
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch status := resp.StatusCode; {
	case status == http.StatusCreated:
		return true, nil
	case status == http.StatusAccepted:
		if s, err := c.sessionOf(resp); err == nil {
			r.sessions.add(d.Digest, s)
		}
		return false, nil
	case status < http.StatusMultipleChoices:
		return c.hasBlob(ctx, r, d)
	case status == http.StatusNotFound, refusesMethod(status):
		return false, nil
	}
	return false, newResponseError(resp)
}
