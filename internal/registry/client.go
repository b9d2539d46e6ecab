// SPDX-License-Identifier: Apache-2.0

// Package registry is a client of OCI registries that respects rate limits and
// Retry-After, retries transient failures, resumes interrupted downloads and
// verifies all content against its digest.
//
// oras-go implements the protocol. This package adds what mirroring needs.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Options configure a Client. All fields are optional.
type Options struct {
	// Credential returns the username and password for a host. Default: requests are
	// anonymous.
	Credential auth.CredentialFunc
	// PlainHTTP reports whether a host is accessed without TLS. Default: IsLoopback.
	PlainHTTP func(host string) bool
	// Limits returns the request rates for a host. Default: ECRLimits for private
	// ECR registries, no limits for others.
	Limits func(host string) Limits
	// Transport sends the requests. Default: NewTransport.
	Transport http.RoundTripper
	// UserAgent is the User-Agent header. Default: that of oras-go.
	UserAgent string
	// StallTimeout is how long a download may receive no data. Default: 60 seconds.
	StallTimeout time.Duration
	// MaxWait is how long a request may be throttled, including all of its retries,
	// before it fails with ErrThrottled. Default: 5 minutes.
	MaxWait time.Duration
}

// Client accesses any number of registries. It is safe for concurrent use.
type Client struct {
	opts Options
	http remote.Client

	mu           sync.Mutex
	repositories map[string]*remote.Repository
}

// New returns a client. It sends no request.
func New(o Options) *Client {
	if o.PlainHTTP == nil {
		o.PlainHTTP = IsLoopback
	}
	if o.Limits == nil {
		o.Limits = defaultLimits
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = 60 * time.Second
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Minute
	}
	limited := &rateLimiter{base: o.Transport, limits: o.Limits, buckets: map[string]*bucket{}}
	client := &auth.Client{
		Client:     &http.Client{Transport: &retry.Transport{Base: limited, Policy: func() retry.Policy { return newRetryPolicy(o.MaxWait) }}},
		Credential: o.Credential,
		Cache:      auth.NewCache(),
	}
	if o.UserAgent != "" {
		client.SetUserAgent(o.UserAgent)
	}
	return &Client{opts: o, http: client, repositories: map[string]*remote.Repository{}}
}

// NewTransport returns a transport that opens a connection for each concurrent
// transfer. With HTTP/2, all transfers would share one connection, which limits
// them to its bandwidth: about 25 MB/s from the storage of ECR.
func NewTransport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		Protocols:             &protocols,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       60 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute,
		DisableCompression:    true, // layers are already compressed, and digests are of the stored content
		ReadBufferSize:        128 << 10,
		WriteBufferSize:       128 << 10,
	}
}

// IsLoopback reports whether a host is the local machine, where traffic cannot be
// intercepted.
func IsLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// repository returns the client of one repository. It is kept, since it caches
// which optional APIs the registry supports.
func (c *Client) repository(name string) (*remote.Repository, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.repositories[name]; ok {
		return r, nil
	}
	r, err := remote.NewRepository(name)
	if err != nil {
		return nil, fmt.Errorf("invalid repository %q: %w", name, err)
	}
	r.Client = c.http
	r.PlainHTTP = c.opts.PlainHTTP(r.Reference.Registry)
	r.SkipReferrersGC = true // it could delete an index that another client uses
	if rewrite.IsECRHost(r.Reference.Registry) {
		// Without this, oras would write a fallback tag for each referrer.
		if err := r.SetReferrersCapability(true); err != nil {
			return nil, err
		}
	}
	c.repositories[name] = r
	return r, nil
}

// Resolve returns the descriptor of a tag or digest in a repository. The error is
// ErrNotFound if it does not exist.
func (c *Client) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	r, err := c.repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := r.Manifests().Resolve(ctx, tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, wrapError(err, "reading", repository, tagOrDigest)
	}
	return d, nil
}

// Manifest returns the content of a manifest, verified against its digest.
func (c *Client) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	r, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	body, err := r.Manifests().Fetch(ctx, d)
	if err != nil {
		return nil, wrapError(err, "reading", repository, d.Digest.String())
	}
	defer body.Close()
	text, err := content.ReadAll(body, d)
	if err != nil {
		return nil, wrapError(err, "reading", repository, d.Digest.String())
	}
	return text, nil
}

// Referrers lists the signatures, attestations and SBOMs of a manifest.
func (c *Client) Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	r, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	err = r.Referrers(ctx, d, "", func(page []ocispec.Descriptor) error {
		all = append(all, page...)
		return nil
	})
	if err != nil {
		return nil, wrapError(err, "listing the referrers of", repository, d.Digest.String())
	}
	return all, nil
}

// HasBlob reports whether a repository contains a blob.
func (c *Client) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	r, err := c.repository(repository)
	if err != nil {
		return false, err
	}
	ok, err := r.Blobs().Exists(ctx, d)
	if err != nil {
		return false, wrapError(err, "checking", repository, d.Digest.String())
	}
	return ok, nil
}

// PutManifest writes a manifest, under a tag if that is not "".
func (c *Client) PutManifest(ctx context.Context, repository string, d ocispec.Descriptor, text []byte, tag string) error {
	r, err := c.repository(repository)
	if err != nil {
		return err
	}
	name := tag
	if name == "" {
		name = d.Digest.String()
	}
	if err := r.Manifests().PushReference(ctx, d, bytes.NewReader(text), name); err != nil {
		return wrapError(err, "writing", repository, name)
	}
	return nil
}

// Upload writes a blob. The registry discards it if the content ends early, ends
// with an error or has another digest.
func (c *Client) Upload(ctx context.Context, repository string, d ocispec.Descriptor, content io.Reader) error {
	r, err := c.repository(repository)
	if err != nil {
		return err
	}
	if err := r.Blobs().Push(ctx, d, readerOnly{content}); err != nil {
		return wrapError(err, "uploading to", repository, d.Digest.String())
	}
	return nil
}

// errNotMounted cancels the upload that a registry offers instead of a mount.
var errNotMounted = errors.New("the registry did not mount the blob")

// Mount makes a blob of another repository in the same registry available in a
// repository. It returns false without an error if the registry does not mount
// the blob.
func (c *Client) Mount(ctx context.Context, repository, from string, d ocispec.Descriptor) (bool, error) {
	r, err := c.repository(repository)
	if err != nil {
		return false, err
	}
	_, path, _ := strings.Cut(from, "/")
	err = r.Mount(ctx, d, path, func() (io.ReadCloser, error) { return nil, errNotMounted })
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errNotMounted), isRefusal(err):
		return false, nil
	}
	return false, wrapError(err, "mounting in", repository, d.Digest.String())
}
