// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A registry decides how many referrers it lists, and on how many pages. These bounds
// are far above what published images have.
const (
	maxReferrerPages = 100
	maxReferrers     = 10_000
)

// Referrers lists the signatures, attestations and SBOMs of a manifest, by the
// referrers API or, if the registry does not have it, by the tag that replaces it.
//
// If the API fails, the list is what could be read, the tag included, and the error
// has the class of the failure: the list may be incomplete. A registry without the
// API, or without referrers, is no error; a repository that does not exist is
// ErrNotFound.
func (c *Client) Referrers(ctx context.Context, repository string, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	r, err := c.repository(repository)
	if err == nil {
		err = d.Digest.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("listing the referrers of %s@%s: %w", repository, d.Digest, err)
	}
	var listed []ocispec.Descriptor
	if !r.noReferrersAPI.Load() {
		listed, err = c.referrersByAPI(ctx, r, d)
		if err == nil {
			return listed, nil
		}
		if errors.Is(err, errNoReferrersAPI) {
			r.noReferrersAPI.Store(true)
			err = nil
		}
	}
	tagged, tagErr := c.referrersByTag(ctx, r, d)
	known := map[digest.Digest]bool{}
	for _, l := range listed {
		known[l.Digest] = true
	}
	for _, t := range tagged {
		if !known[t.Digest] {
			known[t.Digest] = true
			listed = append(listed, t)
		}
	}
	if err == nil {
		err = tagErr
	}
	return listed, c.wrapError(err, "listing the referrers of", r, d.Digest.String())
}

var errNoReferrersAPI = errors.New("the registry has no referrers API")

// referrersByAPI reads all pages of the list.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
func (c *Client) referrersByAPI(ctx context.Context, r *repository, d ocispec.Descriptor) (all []ocispec.Descriptor, err error) {
	next := r.api + "/referrers/" + d.Digest.String()
	for range maxReferrerPages {
		resp, body, err := c.fetch(ctx, r, next, http.Header{"Accept": {ocispec.MediaTypeImageIndex}})
		if err != nil {
			return all, noReferrersAPI(err)
		}
		mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // "" for an invalid one
		var page ocispec.Index
		if mediaType != ocispec.MediaTypeImageIndex || json.Unmarshal(body, &page) != nil {
			return all, errNoReferrersAPI // such as the page of a proxy for all unknown paths
		}
		all = append(all, page.Manifests...)
		if len(all) > maxReferrers {
			return all[:maxReferrers], fmt.Errorf("%w: more than %d referrers", ErrTooLarge, maxReferrers)
		}
		if next = nextPage(resp); next == "" {
			return all, nil
		}
	}
	return all, fmt.Errorf("%w: the referrers have more than %d pages", ErrTooLarge, maxReferrerPages)
}

// noReferrersAPI distinguishes a registry without the API from a repository that does
// not exist: both answer 404.
func noReferrersAPI(err error) error {
	var failed *ResponseError
	if errors.As(err, &failed) && failed.StatusCode == http.StatusNotFound &&
		!slices.ContainsFunc(failed.Details, func(d ErrorDetail) bool { return d.Code == "NAME_UNKNOWN" }) {
		return errNoReferrersAPI
	}
	return err
}

// linkHeader matches a target, and its parameters.
var linkHeader = regexp.MustCompile(`<([^>]*)>([^<]*)`)

// nextPage returns the URL of the next page, or "". Only its path and query are used:
// behind a proxy, registries send URLs with the wrong scheme or host.
// https://www.rfc-editor.org/rfc/rfc8288#section-3
func nextPage(resp *http.Response) string {
	for _, m := range linkHeader.FindAllStringSubmatch(strings.Join(resp.Header.Values("Link"), ", "), -1) {
		relation := strings.NewReplacer(`"`, "", " ", "", ",", "").Replace(strings.ToLower(m[2]))
		target, err := url.Parse(m[1])
		if err != nil || !strings.Contains(relation+";", ";rel=next;") {
			continue
		}
		u := resp.Request.URL.ResolveReference(target)
		u.Scheme, u.Host, u.User = resp.Request.URL.Scheme, resp.Request.URL.Host, nil
		return u.String()
	}
	return ""
}

// referrersByTag reads the index that clients maintain in place of the API.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema
func (c *Client) referrersByTag(ctx context.Context, r *repository, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	tag := strings.Replace(d.Digest.String(), ":", "-", 1)
	found, text, err := c.getManifest(ctx, r, tag[:min(len(tag), 128)], acceptManifests())
	if err != nil {
		if classify(err) == ErrNotFound {
			return nil, nil
		}
		return nil, err
	}
	// Some registries resolve the tag to the manifest itself.
	var index ocispec.Index
	if found.MediaType != ocispec.MediaTypeImageIndex || found.Digest == d.Digest || json.Unmarshal(text, &index) != nil {
		return nil, nil
	}
	if len(index.Manifests) > maxReferrers {
		return index.Manifests[:maxReferrers], fmt.Errorf("%w: more than %d referrers", ErrTooLarge, maxReferrers)
	}
	return index.Manifests, nil
}
