// SPDX-License-Identifier: Apache-2.0

// Package registry is a client of OCI registries with good manners: it asks for
// no more than ECR grants, waits when it is told to, tries again where that can
// help, and takes no byte for granted that a digest can prove.
//
// The protocol is oras-go's; here is what a mirror needs around it.
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

// Options are all optional.
type Options struct {
	// Credential returns user and password for a host. The default knows none.
	Credential auth.CredentialFunc
	// PlainHTTP tells which hosts speak HTTP without TLS. Default: Loopback.
	PlainHTTP func(host string) bool
	// Limits returns how many requests a second a host grants. Default: ECRLimits
	// for private ECR hosts, else no limit.
	Limits func(host string) Limits
	// Transport is the lowest layer. Default: NewTransport.
	Transport http.RoundTripper
	// UserAgent names the program.
	UserAgent string
	// Stalled is how long a transfer may stand still. Default 60 seconds.
	Stalled time.Duration
	// Patience bounds the waiting for one request. Default 5 minutes.
	Patience time.Duration
}

// Client talks to any number of registries. It is safe for concurrent use.
type Client struct {
	opts Options
	http remote.Client

	mu           sync.Mutex
	repositories map[string]*remote.Repository
}

// New returns a client. It sends nothing yet.
func New(o Options) *Client {
	if o.PlainHTTP == nil {
		o.PlainHTTP = Loopback
	}
	if o.Limits == nil {
		o.Limits = defaultLimits
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.Stalled == 0 {
		o.Stalled = 60 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Minute
	}
	limited := &limiter{base: o.Transport, limits: o.Limits, buckets: map[string]*bucket{}}
	client := &auth.Client{
		Client:     &http.Client{Transport: &retry.Transport{Base: limited, Policy: func() retry.Policy { return newPolicy(o.Patience) }}},
		Credential: o.Credential,
		Cache:      auth.NewCache(),
	}
	if o.UserAgent != "" {
		client.SetUserAgent(o.UserAgent)
	}
	return &Client{opts: o, http: client, repositories: map[string]*remote.Repository{}}
}

// NewTransport has a connection for each transfer. With HTTP/2 all of them would
// share one, and its bandwidth: a stream of ECR's storage gives some 25 MB/s.
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
		DisableCompression:    true, // layers are compressed; a digest is over what was stored
		ReadBufferSize:        128 << 10,
		WriteBufferSize:       128 << 10,
	}
}

// Loopback tells of hosts that are this machine, where nobody can listen in.
func Loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// repository returns the client of one repository, always the same: it
// remembers what the registry is capable of.
func (c *Client) repository(name string) (*remote.Repository, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.repositories[name]; ok {
		return r, nil
	}
	r, err := remote.NewRepository(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not a repository: %w", name, err)
	}
	r.Client = c.http
	r.PlainHTTP = c.opts.PlainHTTP(r.Reference.Registry)
	r.SkipReferrersGC = true // deletes what may be another's
	if rewrite.IsECRHost(r.Reference.Registry) {
		// It has the referrers API. Without knowing, oras would write a tag for each.
		if err := r.SetReferrersCapability(true); err != nil {
			return nil, err
		}
	}
	c.repositories[name] = r
	return r, nil
}

// Resolve asks what a tag or digest of a repository stands for. The error is
// ErrNotFound where there is none.
func (c *Client) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	r, err := c.repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := r.Manifests().Resolve(ctx, tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, explain(err, "reading", repository, tagOrDigest)
	}
	return d, nil
}

// Manifest returns the bytes of a manifest, of which the digest was checked.
func (c *Client) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	r, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	body, err := r.Manifests().Fetch(ctx, d)
	if err != nil {
		return nil, explain(err, "reading", repository, d.Digest.String())
	}
	defer body.Close()
	text, err := content.ReadAll(body, d)
	if err != nil {
		return nil, explain(err, "reading", repository, d.Digest.String())
	}
	return text, nil
}

// Referrers lists what refers to a manifest: signatures, attestations, SBOMs.
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
		return nil, explain(err, "listing the referrers of", repository, d.Digest.String())
	}
	return all, nil
}

// HasBlob asks whether a repository has a blob.
func (c *Client) HasBlob(ctx context.Context, repository string, d ocispec.Descriptor) (bool, error) {
	r, err := c.repository(repository)
	if err != nil {
		return false, err
	}
	ok, err := r.Blobs().Exists(ctx, d)
	if err != nil {
		return false, explain(err, "looking for", repository, d.Digest.String())
	}
	return ok, nil
}

// PutManifest stores a manifest, under a tag if that is not "".
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
		return explain(err, "writing", repository, name)
	}
	return nil
}

// Upload stores a blob. Nothing is stored when the content ends early or with an
// error, or has another digest.
func (c *Client) Upload(ctx context.Context, repository string, d ocispec.Descriptor, content io.Reader) error {
	r, err := c.repository(repository)
	if err != nil {
		return err
	}
	if err := r.Blobs().Push(ctx, d, opaque{content}); err != nil {
		return explain(err, "uploading to", repository, d.Digest.String())
	}
	return nil
}

// errNotMounted ends a mount that the registry answers with an upload.
var errNotMounted = errors.New("the registry does not mount it")

// Mount lets a repository share a blob of another one of the same registry. It
// returns false where the registry does not do that, which is no error.
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
	case errors.Is(err, errNotMounted), refusal(err):
		return false, nil
	}
	return false, explain(err, "mounting in", repository, d.Digest.String())
}
