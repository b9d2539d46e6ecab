// SPDX-License-Identifier: Apache-2.0

// Package registry is a client of OCI registries that respects rate limits and
// Retry-After, retries transient failures, resumes interrupted downloads and
// verifies all content against its digest.
//
// It is strict about content and liberal about protocol: registries differ in
// headers, status codes, challenges and ranges, but a digest is never ignored.
// oras-go authenticates, and writes manifests with the index of referrers for
// registries without the referrers API. This package sends all other requests.
package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Options configure a Client. All fields are optional.
type Options struct {
	// Credential returns the username and password for a host. Default: requests are
	// anonymous.
	Credential auth.CredentialFunc
	// PlainHTTP reports whether a host is accessed without TLS. Default: IsLoopback.
	PlainHTTP func(host string) bool
	// Limits returns the request rates for a host. Default: 80 percent of the quotas of
	// ECR for private ECR registries, no limits for others.
	Limits func(host string) Limits
	// Transport sends the requests. Default: NewTransport.
	Transport http.RoundTripper
	// UserAgent is the User-Agent header. Default: that of net/http.
	UserAgent string
	// StallTimeout is how long the transfer of a blob may pause, and how long the body of
	// any other response may take. Default: 60 seconds. It does not limit the response to
	// the last part of an upload, which comes after the registry has verified the blob.
	StallTimeout time.Duration
	// MaxWait is how long a request may be throttled, including all of its retries.
	// A registry that asks for a longer wait makes the request fail at once with
	// ErrThrottled. Default: 5 minutes. It also limits the response to the last part of
	// an upload; the limit of NewTransport for all responses is lower.
	MaxWait time.Duration
	// Warn receives messages that do not stop a request, such as that a registry asks
	// to wait. Default: they are discarded.
	Warn func(message string)
}

// Client accesses any number of registries. It is safe for concurrent use.
type Client struct {
	opts  Options
	http  *httpClient
	state *state
	push  bool // see ForPush
}

// state is what all views of a client share.
type state struct {
	pulls pullLimits

	mu           sync.Mutex
	repositories map[string]*repository
	hosts        map[string]*host
}

// host is what the client has learned about a registry.
type host struct {
	// headReliable is whether a 404 to HEAD means that a manifest does not exist.
	headReliable atomic.Bool
	// chunked is whether uploads need a PATCH, because the registry refuses a PUT with
	// the content.
	chunked atomic.Bool
}

// repository is one repository of a registry.
type repository struct {
	name      string // with the host
	reference registry.Reference
	api       string // URL of its API, without a slash at the end
	isECR     bool
	host      *host
	writer    *remote.Repository

	noReferrersAPI atomic.Bool
	sessions       sessions
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
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	return &Client{opts: o, http: newHTTPClient(o), state: &state{
		pulls: pullLimits{warn: o.Warn}, repositories: map[string]*repository{}, hosts: map[string]*host{},
	}}
}

// ForPush returns a view of the client for repositories that are written to. It asks
// for the permission to push from its first request on. Some registries conceal from
// an authenticated client that a repository or a tag does not exist, by status 401 or
// 403: for this view it does not exist, and the push shows whether it is allowed.
//
// Quay creates a repository with the first push, and answers 401 until then:
// https://github.com/containers/image/issues/1265. Artifactory answers 403 for a
// missing tag: https://github.com/google/go-containerregistry/issues/1691.
func (c *Client) ForPush() *Client {
	view := *c
	view.push = true
	return &view
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

// ParsePlainHTTP returns the host of a registry that is given as a host, such as
// registry.example:5000, or as its URL, such as http://registry.example:5000/.
func ParsePlainHTTP(text string) (string, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(text, "http://"), "/")
	if strings.HasPrefix(text, "https://") {
		return "", fmt.Errorf("%q is a URL with TLS: write it without https:// if the registry is accessed without TLS", withoutURLSecrets(text))
	}
	if r := (registry.Reference{Registry: name}); r.ValidateRegistry() != nil {
		return "", fmt.Errorf("%q is not the host of a registry: write it like registry.example:5000", withoutURLSecrets(text))
	}
	return name, nil
}

// repository returns the state of one repository.
func (c *Client) repository(name string) (*repository, error) {
	s := c.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.repositories[name]; ok {
		return r, nil
	}
	writer, err := remote.NewRepository(name)
	if err != nil {
		return nil, fmt.Errorf("invalid repository %q: %w", name, err)
	}
	r := &repository{name: name, reference: writer.Reference, writer: writer, isECR: rewrite.IsECRHost(writer.Reference.Registry)}
	plain, scheme := c.opts.PlainHTTP(r.reference.Registry), "https"
	if plain {
		scheme = "http"
	}
	r.api = scheme + "://" + r.reference.Host() + "/v2/" + r.reference.Repository
	writer.Client = c.http
	writer.PlainHTTP = plain
	writer.MaxMetadataBytes = maxManifestSize
	writer.SkipReferrersGC = true // it could delete an index that another client uses
	if r.isECR {
		// Without this, oras would write a fallback tag for each referrer.
		if err := writer.SetReferrersCapability(true); err != nil {
			return nil, err
		}
	}
	if r.host = s.hosts[r.reference.Registry]; r.host == nil {
		r.host = &host{}
		r.host.headReliable.Store(r.isECR)
		s.hosts[r.reference.Registry] = r.host
	}
	s.repositories[name] = r
	return r, nil
}

// scoped adds the permissions to a context that the client's token needs for a
// repository.
func (c *Client) scoped(ctx context.Context, r *repository) context.Context {
	if c.push {
		return auth.AppendRepositoryScope(ctx, r.reference, auth.ActionPull, auth.ActionPush)
	}
	return auth.AppendRepositoryScope(ctx, r.reference, auth.ActionPull)
}

// Waits returns what requests wait for at the moment, the most requests first.
func (c *Client) Waits() []Wait { return c.http.waits() }

// httpClient sends requests with authentication, retries and rate limits.
type httpClient struct {
	strict, loopback *auth.Client
	// anonymous never authenticates.
	anonymous *http.Client
	userAgent string
	waits     func() []Wait
}

// newHTTPClient stacks the transports. From the outside: oras-go authenticates,
// protocolTransport translates responses for it, retryTransport waits and retries,
// stallTransport bounds bodies, which the others read.
func newHTTPClient(o Options) *httpClient {
	secrets := &secrets{}
	bounded := &stallTransport{base: o.Transport, timeout: o.StallTimeout}
	retrying := &retryTransport{base: bounded, maxWait: o.MaxWait, warn: o.Warn, buckets: buckets{limits: o.Limits}}
	transport := &protocolTransport{base: retrying, secrets: secrets}
	strict := &auth.Client{
		Client:     &http.Client{Transport: transport},
		Credential: secrets.remember(o.Credential),
		Cache:      auth.NewCache(),
	}
	if o.UserAgent != "" {
		strict.SetUserAgent(o.UserAgent)
	}
	loopback := *strict
	loopback.BlockedRealmPrefixes = []netip.Prefix{} // its token endpoint may be on this machine
	return &httpClient{strict: strict, loopback: &loopback, anonymous: &http.Client{Transport: transport}, userAgent: o.UserAgent, waits: retrying.buckets.waits}
}

// Do implements remote.Client of oras-go.
func (c *httpClient) Do(req *http.Request) (*http.Response, error) {
	if IsLoopback(req.URL.Host) {
		return c.loopback.Do(req)
	}
	return c.strict.Do(req)
}

// doAnonymous sends a request without credentials.
func (c *httpClient) doAnonymous(req *http.Request) (*http.Response, error) {
	if c.userAgent != "" {
		req.Header.Set("User-Agent", c.userAgent)
	}
	return c.anonymous.Do(req)
}
