// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v4/pkg/registry"
	"oras.land/oras-go/v2/errdef"

	ociregistry "github.com/castai/privatelink-webhook/internal/registry"
)

// layers are the media types of a chart's archive in a registry.
var layers = []string{registry.ChartLayerMediaType, registry.LegacyChartLayerMediaType}

// fromRegistry pulls a chart, by the credentials of helm registry login or docker
// login. Its digests are checked on the way.
func fromRegistry(ctx context.Context, ref, version string) (source, error) {
	data, err := pull(ctx, ref, version)
	if err != nil {
		return source{}, fmt.Errorf("chart %s: %w", ref, withRemedy(tooLarge(err), ref))
	}
	return archive(ref, data, "")
}

// pull returns the archive of a chart.
func pull(ctx context.Context, ref, version string) ([]byte, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return nil, err
	}
	options := []registry.ClientOption{registry.ClientOptHTTPClient(client(ctx, maxArchive)), registry.ClientOptEnableCache(true)}
	// As docker and crane do.
	if ociregistry.IsLoopback(u.Hostname()) {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	c, err := registry.NewClient(options...)
	if err != nil {
		return nil, err
	}
	// This lists the tags if no version is named, and takes the newest.
	_, u, err = c.ValidateReference(ref, version, u)
	if err != nil {
		return nil, err
	}
	return layer(c.Generic(), u.String())
}

// layer fetches the archive alone, and refuses a size that no chart has before
// memory is allocated for it.
func layer(c *registry.GenericClient, ref string) ([]byte, error) {
	types := append([]string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex}, layers...)
	got, err := c.PullGeneric(ref, registry.GenericPullOptions{
		AllowedMediaTypes: types,
		PreCopy: func(_ context.Context, d ocispec.Descriptor) error {
			if d.Size > maxArchive {
				return fmt.Errorf("%s has %d bytes: this is no chart", d.Digest, d.Size)
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	for _, d := range got.Descriptors {
		if slices.Contains(layers, d.MediaType) {
			return c.GetDescriptorData(got.MemoryStore, d)
		}
	}
	return nil, fmt.Errorf("it is no chart: it has no layer of type %s", registry.ChartLayerMediaType)
}

// withRemedy adds what to do if the registry requires credentials, or if the reference is
// none. oras has no error type for the first, only these texts.
func withRemedy(err error, ref string) error {
	for _, words := range []string{"status code 401", "status code 403", "credential not found"} {
		if strings.Contains(err.Error(), words) {
			host, _, _ := strings.Cut(strings.TrimPrefix(ref, "oci://"), "/")
			return fmt.Errorf("%w: log in with `helm registry login %s` or `docker login %s`", err, host, host)
		}
	}
	if errors.Is(err, errdef.ErrInvalidReference) {
		return fmt.Errorf("%w: name it as oci://REGISTRY/NAME, with @VERSION, :VERSION or :VERSION@DIGEST", err)
	}
	return err
}
