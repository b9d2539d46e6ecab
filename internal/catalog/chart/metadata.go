// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	loader "helm.sh/helm/v4/pkg/chart/loader/archive"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"sigs.k8s.io/yaml"
)

// Metadata is what the Chart.yaml of an archive says.
type Metadata struct {
	Name, Version, Description string
	// JSON is the whole as Helm writes it to registries and indexes. A number, as in
	// appVersion: 1.5, is text there.
	JSON []byte
}

// ReadMetadata reads the Chart.yaml of an archive. It fails for what Helm would not load,
// such as files outside of the chart's folder or more than 100 MiB of content.
func ReadMetadata(data []byte) (Metadata, error) {
	files, err := loader.LoadArchiveFiles(bytes.NewReader(data))
	if err != nil {
		return Metadata{}, fmt.Errorf("it is no chart: %w", damage(err))
	}
	i := slices.IndexFunc(files, func(f *loader.BufferedFile) bool { return f.Name == "Chart.yaml" })
	if i < 0 {
		return Metadata{}, errors.New("it is no chart: it has no Chart.yaml")
	}
	var m v2.Metadata
	if err := yaml.Unmarshal(files[i].Data, &m); err != nil {
		return Metadata{}, fmt.Errorf("its Chart.yaml: %w", err)
	}
	if err := m.Validate(); err != nil {
		return Metadata{}, fmt.Errorf("its Chart.yaml: %w", err)
	}
	text, err := json.Marshal(m)
	return Metadata{Name: m.Name, Version: m.Version, Description: m.Description, JSON: text}, err
}

// ReadMetadata is that of the archive, which must be the chart that the index calls it.
func (a Archive) ReadMetadata() (Metadata, error) {
	m, err := ReadMetadata(a.Data)
	switch {
	case err != nil:
		return Metadata{}, fmt.Errorf("chart %s %s: %w", a.Chart, a.Version.Version, err)
	case m.Name != a.Chart || m.Version != a.Version.Version:
		return Metadata{}, fmt.Errorf("chart %s %s: its Chart.yaml says %s %s: the index and the archive are of different charts: ask its publisher", a.Chart, a.Version.Version, m.Name, m.Version)
	}
	return m, nil
}
