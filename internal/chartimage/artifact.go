// SPDX-License-Identifier: Apache-2.0

// Package chartimage makes the Helm charts of a repository a source of the mirror, like a
// registry. A chart is an artifact there, in the form that helm pull and helm install read
// with oci://.
//
// References to charts have a host that no registry has. Lock files, archives and reports
// have a chart under such a reference.
package chartimage

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/catalog/chart"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Host is the host of references to charts. It is not a registry.
const Host = "charts.privatelink.cast.ai"

// IsChart reports whether a reference or a repository is that of a chart.
func IsChart(ref string) bool { return rewrite.RegistryHost(ref) == Host }

// Reference returns the reference of a version of a chart.
func Reference(name, version string) string { return Host + "/" + name + ":" + Tag(version) }

// Tag returns the tag of a version. A tag cannot have a plus: Helm writes an underscore,
// and reads it back.
func Tag(version string) string { return strings.ReplaceAll(version, "+", "_") }

// parse is the reverse of Reference.
func parse(ref string) (name, version string) {
	r := rewrite.SplitReference(ref)
	return strings.TrimPrefix(r.Repository, Host+"/"), strings.ReplaceAll(r.Tag, "_", "+")
}

// The media types of Helm.
// https://helm.sh/docs/topics/registries/#helm-chart-manifest
const (
	ConfigType  = "application/vnd.cncf.helm.config.v1+json"
	contentType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// An Artifact is a chart as a registry keeps it.
type Artifact struct {
	Version    string
	Descriptor ocispec.Descriptor // of Manifest
	Manifest   []byte
	Config     Blob // Chart.yaml as JSON
	Content    Blob // the archive, unchanged
}

// Blob is a blob with its content.
type Blob struct {
	Descriptor ocispec.Descriptor
	Data       []byte
}

// New returns the artifact of an archive. It has the same bytes for the same archive:
// there is no time in them, other than in what helm push writes.
func New(archive []byte) (Artifact, error) {
	metadata, err := chart.ReadMetadata(archive)
	if err != nil {
		return Artifact{}, err
	}
	return newArtifact(metadata, archive)
}

func newArtifact(metadata chart.Metadata, archive []byte) (Artifact, error) {
	a := Artifact{Version: metadata.Version, Config: newBlob(ConfigType, metadata.JSON), Content: newBlob(contentType, archive)}
	annotations := map[string]string{ocispec.AnnotationTitle: metadata.Name, ocispec.AnnotationVersion: metadata.Version}
	if metadata.Description != "" {
		annotations[ocispec.AnnotationDescription] = metadata.Description
	}
	var err error
	a.Manifest, err = json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: a.Config.Descriptor, Layers: []ocispec.Descriptor{a.Content.Descriptor}, Annotations: annotations,
	})
	if err != nil {
		return Artifact{}, fmt.Errorf("chart %s %s: %w", metadata.Name, metadata.Version, err)
	}
	a.Descriptor = newBlob(ocispec.MediaTypeImageManifest, a.Manifest).Descriptor
	return a, nil
}

func newBlob(mediaType string, data []byte) Blob {
	return Blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data}
}
