// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/registry"
	"helm.sh/helm/v4/pkg/repo/v1"
)

// fromRepo fetches a chart that the index of a repository lists.
func fromRepo(ctx context.Context, from, name, version string) (source, error) {
	index, err := fetchIndex(ctx, from)
	if err != nil {
		return source{}, fmt.Errorf("repository %s: %w", redacted(from), err)
	}
	entry, err := choose(index, name, version)
	if err != nil {
		return source{}, fmt.Errorf("repository %s: %w", redacted(from), err)
	}
	address, err := resolve(from, entry.URLs[0])
	if err != nil {
		return source{}, fmt.Errorf("repository %s: %w", redacted(from), err)
	}
	if registry.IsOCI(address) {
		return fromRegistry(ctx, address, entry.Version) // which verifies digests
	}
	data, err := get(ctx, address, maxArchive)
	if err != nil {
		return source{}, err
	}
	if err := verify(data, entry.Digest); err != nil {
		return source{}, fmt.Errorf("chart %s: %w", redacted(address), err)
	}
	return archive(redacted(address), data, "")
}

// resolve returns the address of an archive, which the index has relative to the
// repository or in full. The user and password of the repository are used for
// addresses of the same origin only.
func resolve(from, address string) (string, error) {
	resolved, err := repo.ResolveReferenceURL(from, address)
	if err != nil {
		return "", err
	}
	base, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(resolved)
	if err != nil {
		return "", err
	}
	if u.User == nil && isSameOrigin(u, base) {
		u.User = base.User
	}
	return u.String(), nil
}

// fetchIndex reads index.yaml through a file, since Helm reads it only from there.
func fetchIndex(ctx context.Context, from string) (*repo.IndexFile, error) {
	address, err := resolve(from, "index.yaml")
	if err != nil {
		return nil, err
	}
	data, err := get(ctx, address, maxIndex)
	if s, ok := errors.AsType[status](err); ok && int(s) == http.StatusNotFound {
		return nil, errors.New("there is no index.yaml: is it a repository of Helm charts?")
	}
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp("", "index-*.yaml")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	index, err := repo.LoadIndexFile(file.Name())
	if err != nil {
		// Its text begins with the file, which is gone by now.
		return nil, fmt.Errorf("index.yaml: %w", errors.Unwrap(err))
	}
	return index, nil
}

// choose is the newest version that fits.
func choose(index *repo.IndexFile, name, version string) (*repo.ChartVersion, error) {
	entry, err := index.Get(name, version)
	switch {
	case errors.Is(err, repo.ErrNoChartName):
		return nil, fmt.Errorf("it has no chart %q, only %s", name, strings.Join(slices.Sorted(maps.Keys(index.Entries)), ", "))
	case err != nil && version == "":
		return nil, fmt.Errorf("chart %q has only pre-releases: name a version", name)
	case err != nil:
		return nil, fmt.Errorf("chart %q: %w", name, err)
	case len(entry.URLs) == 0:
		return nil, fmt.Errorf("chart %q %s has no URL in index.yaml", name, entry.Version)
	}
	return entry, nil
}

// verify compares an archive with the index. Helm does not: a damaged copy would
// appear, if at all, as a missing image.
func verify(archive []byte, digest string) error {
	want := strings.TrimPrefix(strings.TrimSpace(digest), "sha256:")
	if want == "" {
		return nil
	}
	if got := hexSum(archive); !strings.EqualFold(got, want) {
		return fmt.Errorf("its SHA-256 is %s and the repository's index says %s: it is damaged, or was replaced after it was published", got, want)
	}
	return nil
}
