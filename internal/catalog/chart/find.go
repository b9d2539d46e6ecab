// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/registry"
)

// bareName is a name that a repository may have and that is no path.
var bareName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// find loads the chart from where it is: a file wins over a chart of that name in
// the default repository, as with helm install.
func find(ctx context.Context, o Options) (*v2.Chart, error) {
	switch {
	case o.Chart == "":
		return nil, errors.New("no chart is named: name a folder, an archive, an oci:// reference or a chart of a repository")
	case registry.IsOCI(o.Repo):
		return nil, fmt.Errorf("repository %s: a registry has no index: name the chart %s/%s", o.Repo, strings.TrimSuffix(o.Repo, "/"), o.Chart)
	case o.Repo != "" && !bareName.MatchString(o.Chart):
		return nil, fmt.Errorf("chart %q: with a repository, name it as the repository does", o.Chart)
	case o.Repo != "":
		return fromRepo(ctx, o.Repo, o.Chart, o.Version)
	case registry.IsOCI(o.Chart):
		return fromRegistry(ctx, o.Chart, o.Version)
	case isURL(o.Chart):
		return fromURL(ctx, o.Chart, o.Version)
	}
	if c, err := fromDisk(o.Chart, o.Version); !errors.Is(err, os.ErrNotExist) {
		return c, err
	}
	if bareName.MatchString(o.Chart) && filepath.Ext(o.Chart) != ".tgz" {
		return fromRepo(ctx, DefaultRepo, o.Chart, o.Version)
	}
	return nil, fmt.Errorf("chart %q: no such folder or archive; repositories of `helm repo add` are not known here: name the chart and the repository's URL apart", o.Chart)
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// fromDisk fails with os.ErrNotExist if there is nothing of that name, or a
// folder that happens to have it.
func fromDisk(name, version string) (*v2.Chart, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	load := loader.LoadFile
	if info.IsDir() {
		load = loader.LoadDir
		if _, err := os.Stat(filepath.Join(name, "Chart.yaml")); err != nil {
			return nil, err
		}
	}
	c, err := load(name)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", name, damage(err))
	}
	return c, versionFits(c, name, version)
}

// fromURL fetches an archive that is in no index.
func fromURL(ctx context.Context, url, version string) (*v2.Chart, error) {
	data, err := get(ctx, url, maxArchive)
	if err != nil {
		return nil, err
	}
	c, err := unpack(url, data)
	if err != nil {
		return nil, err
	}
	return c, versionFits(c, redacted(url), version)
}

// unpack fails if data is no chart, and if it is more than Helm's limit of 100 MiB
// when unpacked.
func unpack(from string, data []byte) (*v2.Chart, error) {
	c, err := loader.LoadArchive(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", redacted(from), damage(err))
	}
	return c, nil
}

// damage adds the remedy for an archive that ends too early: the error of gzip has
// none.
func damage(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("the archive is cut off (%w): fetch it again", err)
	}
	return err
}

// versionFits fails if a chart that was named by path or URL has another version
// than the requested one.
func versionFits(c *v2.Chart, from, version string) error {
	if version == "" || version == c.Metadata.Version || chartutil.IsCompatibleRange(version, c.Metadata.Version) {
		return nil
	}
	return fmt.Errorf("chart %s is version %s, not %s: leave the version out, or name another chart", cmp.Or(from, c.Name()), c.Metadata.Version, version)
}
