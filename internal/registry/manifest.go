// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifestTypes are the media types of manifests. A request by tag accepts all of
// them: ECR converts a manifest whose type the client does not accept, which changes
// its digest.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-manifest-formats.html
var manifestTypes = []string{
	ocispec.MediaTypeImageIndex,
	ocispec.MediaTypeImageManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.oci.artifact.manifest.v1+json",
}

// acceptManifests is the header of a request for a manifest.
func acceptManifests(preferred ...string) http.Header {
	return http.Header{"Accept": {strings.Join(append(preferred, manifestTypes...), ", ")}}
}

func (r *repository) manifestURL(tagOrDigest string) string {
	return r.api + "/manifests/" + tagOrDigest
}

// Resolve returns the descriptor of a tag or digest in a repository. Its size is what
// the registry reports, and can differ from that of the content. The error is
// ErrNotFound if it does not exist.
func (c *Client) Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error) {
	r, err := c.referencedRepository(repository, tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, isComplete, err := c.headManifest(ctx, r, tagOrDigest)
	if err == nil && !isComplete {
		d, _, err = c.getManifest(ctx, r, tagOrDigest, acceptManifests())
	}
	if err != nil {
		return ocispec.Descriptor{}, c.wrapError(err, "reading", r, tagOrDigest)
	}
	return d, nil
}

// A Resolver is a Client, or what stands for one.
type Resolver interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
}

// ResolveWritten is Resolve for a tag that was just written: a registry that is
// eventually consistent may not find it at once.
func ResolveWritten(ctx context.Context, r Resolver, repository, tag string) (ocispec.Descriptor, error) {
	for attempt := 1; ; attempt++ {
		d, err := r.Resolve(ctx, repository, tag)
		if !errors.Is(err, ErrNotFound) || attempt == maxAttempts || Sleep(ctx, Backoff(attempt)) != nil {
			return d, err
		}
	}
}

// referencedRepository returns a repository for a tag or digest that is valid.
func (c *Client) referencedRepository(name, tagOrDigest string) (*repository, error) {
	r, err := c.repository(name)
	if err != nil {
		return nil, err
	}
	ref := r.reference
	if ref.Reference = tagOrDigest; tagOrDigest == "" || ref.ValidateReference() != nil {
		return nil, fmt.Errorf("%q is neither a tag nor a digest", tagOrDigest)
	}
	return r, nil
}

// headManifest returns the descriptor that the response to HEAD contains. It is not
// complete if the registry does not support HEAD, or omits headers. The specification
// demands none of them but Content-Type:
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#checking-if-content-exists-in-the-registry
func (c *Client) headManifest(ctx context.Context, r *repository, tagOrDigest string) (d ocispec.Descriptor, isComplete bool, err error) {
	resp, err := c.send(ctx, r, http.MethodHead, r.manifestURL(tagOrDigest), acceptManifests())
	if err != nil {
		return d, false, err
	}
	_ = resp.Body.Close() // of HEAD: empty
	switch resp.StatusCode {
	case http.StatusOK:
		r.host.headReliable.Store(true)
		c.state.pulls.observe(r, resp.Header)
	case http.StatusNotFound:
		if r.host.headReliable.Load() {
			return d, false, newResponseError(resp)
		}
		return d, false, nil
	case http.StatusUnauthorized, http.StatusTooManyRequests:
		return d, false, newResponseError(resp)
	case http.StatusForbidden:
		if c.push { // it is the client that a target refuses, not the method
			return d, false, newResponseError(resp)
		}
		return d, false, nil
	default:
		return d, false, nil // the body of GET explains it, or GET succeeds
	}
	d.MediaType, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type")) // "" for an invalid one
	d.Digest = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	d.Size = resp.ContentLength
	isComplete = slices.Contains(manifestTypes, d.MediaType) && d.Digest.Validate() == nil && d.Size > 0 &&
		(d.Digest.String() == tagOrDigest || !strings.Contains(tagOrDigest, ":"))
	return d, isComplete, nil
}

// getManifest reads a manifest. Its descriptor is computed from the content.
func (c *Client) getManifest(ctx context.Context, r *repository, tagOrDigest string, header http.Header) (ocispec.Descriptor, []byte, error) {
	resp, text, err := c.fetch(ctx, r, r.manifestURL(tagOrDigest), header)
	if err != nil {
		var failed *ResponseError
		if errors.As(err, &failed) && failed.StatusCode == http.StatusNotFound {
			r.host.headReliable.Store(true) // HEAD had the same result
		}
		return ocispec.Descriptor{}, nil, err
	}
	d := ocispec.Descriptor{MediaType: mediaTypeOf(resp.Header.Get("Content-Type"), text), Digest: digest.FromBytes(text), Size: int64(len(text))}
	if want := digest.Digest(tagOrDigest); want.Validate() == nil {
		if d.Digest = want.Algorithm().FromBytes(text); d.Digest != want {
			return ocispec.Descriptor{}, nil, fmt.Errorf("%w: it has the digest %s", ErrCorrupt, d.Digest)
		}
	}
	return d, text, nil
}

// mediaTypeOf returns the media type of a manifest: that of its content if there is
// one, which the header has to repeat.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
func mediaTypeOf(contentType string, text []byte) string {
	var document struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
	}
	header, _, _ := mime.ParseMediaType(contentType) // "" for an invalid one
	switch err := json.Unmarshal(text, &document); {
	case err == nil && document.MediaType != "":
		return document.MediaType
	case slices.Contains(manifestTypes, header) || err != nil:
		return header
	case document.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	case document.Layers != nil:
		return ocispec.MediaTypeImageManifest
	}
	return header
}

// Manifest returns the content of a manifest, verified against its digest. The size
// of the descriptor is not compared, since it may come from a header.
func (c *Client) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	r, err := c.repository(repository)
	if err == nil {
		err = d.Digest.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s@%s: %w", repository, d.Digest, err)
	}
	header := acceptManifests()
	if !slices.Contains(manifestTypes, d.MediaType) && d.MediaType != "" {
		header = acceptManifests(d.MediaType)
	}
	_, text, err := c.getManifest(ctx, r, d.Digest.String(), header)
	if errors.Is(err, ErrCorrupt) { // once may be a transmission error
		_, text, err = c.getManifest(ctx, r, d.Digest.String(), header)
	}
	if err != nil {
		return nil, c.wrapError(err, "reading", r, d.Digest.String())
	}
	c.state.pulls.count(r)
	return text, nil
}

// Fetch returns the descriptor and the content of a tag or digest, with one request
// instead of those of Resolve and Manifest. The error is ErrNotFound if it does not
// exist.
func (c *Client) Fetch(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, []byte, error) {
	r, err := c.referencedRepository(repository, tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	d, text, err := c.getManifest(ctx, r, tagOrDigest, acceptManifests())
	if err != nil {
		return ocispec.Descriptor{}, nil, c.wrapError(err, "reading", r, tagOrDigest)
	}
	c.state.pulls.count(r)
	return d, text, nil
}

// PutManifest writes a manifest, under a tag if that is not "". If the registry does
// not confirm it with the status that the specification demands, the manifest is
// read again before that is a success.
func (c *Client) PutManifest(ctx context.Context, repository string, d ocispec.Descriptor, text []byte, tag string) error {
	r, err := c.repository(repository)
	if err != nil {
		return err
	}
	name := tag
	if name == "" {
		name = d.Digest.String()
	}
	ctx, cancel := context.WithTimeoutCause(context.WithValue(ctx, forORAS{}, true), 2*c.opts.MaxWait, errStalled)
	defer cancel()
	d.Size = int64(len(text))
	if err := r.writer.Manifests().PushReference(ctx, d, bytes.NewReader(text), name); err != nil {
		return c.wrapError(err, "writing", r, name)
	}
	return nil
}
