// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	v2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/registry"
)

// bareName is a name that a repository may have and that is no path.
var bareName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// find locates the chart, and fetches it unless it is a local folder: a file wins
// over a chart of that name in the default repository, as with helm install.
func find(ctx context.Context, o Options) (source, error) {
	switch {
	case o.Chart == "":
		return source{}, errors.New("no chart is named: name a folder, an archive, an oci:// reference or a chart of a repository")
	case registry.IsOCI(o.Repo):
		return source{}, fmt.Errorf("repository %s: a registry has no index: name the chart %s/%s", o.Repo, strings.TrimSuffix(o.Repo, "/"), o.Chart)
	case o.Repo != "" && !bareName.MatchString(o.Chart):
		return source{}, fmt.Errorf("chart %q: with a repository, name it as the repository does", o.Chart)
	case o.Repo != "":
		return fromRepo(ctx, o.Repo, o.Chart, o.Version, o.Command)
	case registry.IsOCI(o.Chart):
		return fromRegistry(ctx, o.Chart, o.Version)
	case isURL(o.Chart):
		return fromURL(ctx, o.Chart, o.Version)
	}
	if s, err := fromDisk(o.Chart, o.Version); !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	if bareName.MatchString(o.Chart) && filepath.Ext(o.Chart) != ".tgz" {
		return fromRepo(ctx, DefaultRepo, o.Chart, o.Version, o.Command)
	}
	return source{}, fmt.Errorf("chart %q: no such folder or archive; repositories of `helm repo add` are not known here: name the chart and the repository's URL apart", o.Chart)
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// fromDisk fails with os.ErrNotExist if there is nothing of that name, or a
// folder that happens to have it.
func fromDisk(name, version string) (source, error) {
	info, err := os.Stat(name)
	if err != nil {
		return source{}, err
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(name, "Chart.yaml")); err != nil {
			return source{}, err
		}
		return source{From: name, Folder: name, Version: version}, nil
	}
	if !info.Mode().IsRegular() || info.Size() > maxArchive {
		return source{}, fmt.Errorf("chart %s: it is no file of at most %d MiB: this is no chart", name, maxArchive>>20)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return source{}, err
	}
	return archive(name, data, version)
}

// fromURL fetches an archive that is in no index.
func fromURL(ctx context.Context, url, version string) (source, error) {
	data, err := get(ctx, url, maxArchive)
	if err != nil {
		return source{}, err
	}
	return archive(redacted(url), data, version)
}

// archive fails if data does not begin as a compressed archive does.
func archive(from string, data []byte, version string) (source, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b, 0x08}) {
		return source{}, fmt.Errorf("chart %s: it is no gzip archive: name the folder of a chart, or the .tgz that `helm package` writes", from)
	}
	return source{From: from, Archive: data, Version: version}, nil
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

// checkLinks fails if a symbolic link in the folder leads out of it, or to a folder
// above the link. Helm follows links, and would put the files of others, such as
// credentials, at the disposal of the templates.
func checkLinks(folder string) error {
	top, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return err
	}
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return err
		}
		if !within(top, target) || within(target, path) {
			return fmt.Errorf("the link %s leads out of the folder or above itself, to %s: if you trust what it leads to, name the archive that `helm package` writes", path, target)
		}
		return nil
	})
}

// within reports whether a path is a folder or below it.
func within(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}
