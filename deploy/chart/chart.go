// SPDX-License-Identifier: Apache-2.0

// Package chart has the Helm chart of the install bundle, and its values.
//
// The chart is generated from the kustomize tree of package deploy by the tests of
// this package, which also hold the chart's objects equal to those of the tree. The
// files that are written by hand are Chart.yaml, values.schema.json, NOTES.txt,
// .helmignore and _helpers.tpl.
package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// all: takes _helpers.tpl and .helmignore, too.
//
//go:embed all:privatelink-webhook
var files embed.FS

// Name is the name of the chart, and of the folder that has it.
const Name = "privatelink-webhook"

// Metadata is what Chart.yaml says of the chart.
type Metadata struct {
	Name, Version, AppVersion, Description string
}

// ReadMetadata returns the content of Chart.yaml.
func ReadMetadata() (Metadata, error) {
	text, err := files.ReadFile(Name + "/Chart.yaml")
	if err != nil {
		return Metadata{}, err
	}
	var m Metadata
	if err := yaml.Unmarshal(text, &m); err != nil {
		return Metadata{}, fmt.Errorf("read Chart.yaml: %w", err)
	}
	return m, nil
}

// Write writes the chart to an archive, if the name ends in .tgz, or else to a folder
// that does not exist or is empty.
func Write(name string) error {
	if strings.HasSuffix(name, ".tgz") {
		data, err := Archive()
		if err != nil {
			return err
		}
		return os.WriteFile(name, data, 0o644)
	}
	if entries, err := os.ReadDir(name); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name a new folder, or an archive such as %s.tgz", name, Name)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	chart, err := fs.Sub(files, Name)
	if err != nil {
		return err
	}
	return os.CopyFS(filepath.Clean(name), chart)
}

// Archive returns the chart as helm package writes it. The same chart gives the same
// bytes: its files have no time, and come in the order of their names.
func Archive() ([]byte, error) {
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	archive := tar.NewWriter(compressed)
	err := fs.WalkDir(files, Name, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		header := tar.Header{Typeflag: tar.TypeReg, Name: path.Clean(name), Size: int64(len(data)), Mode: 0o644}
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	})
	if err := errors.Join(err, archive.Close(), compressed.Close()); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	return out.Bytes(), nil
}
