// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const entrypoint = "/privatelink-webhook"

// buildIndex returns an index with an image for each architecture, in the order of
// their names.
func buildIndex(binaries map[string]string, version string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range slices.Sorted(maps.Keys(binaries)) {
		image, err := buildImage(binaries[arch], arch, version)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", binaries[arch], err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, nil
}

// buildImage returns the image of a binary, which corresponds to the last stage of
// the Dockerfile.
func buildImage(file, arch, version string) (v1.Image, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := checkStatic(data, arch); err != nil {
		return nil, err
	}
	layerTar, err := tarFile(data)
	if err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layerTar)), nil },
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: arch,
		Config: v1.Config{
			Entrypoint:   []string{entrypoint},
			User:         "65532:65532",
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8080/tcp": {}},
			Labels: map[string]string{
				"org.opencontainers.image.title":    "privatelink-webhook",
				"org.opencontainers.image.source":   "https://github.com/castai/privatelink-webhook",
				"org.opencontainers.image.licenses": "Apache-2.0",
				"org.opencontainers.image.version":  version,
			},
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "COPY privatelink-webhook /"}})
}

// checkStatic returns an error for binaries that cannot run in an image without
// libraries or with another architecture.
func checkStatic(data []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not a Linux binary: %w", err)
	}
	machine, known := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if !known || f.Machine != machine {
		return fmt.Errorf("the binary is for %s, not for %s", f.Machine, arch)
	}
	if libraries, _ := f.ImportedLibraries(); len(libraries) > 0 || f.Section(".interp") != nil {
		return errors.New("the binary is not static; build it with CGO_ENABLED=0")
	}
	return nil
}

// tarFile returns a tar archive with the binary, owned by root and without a time
// stamp.
func tarFile(binary []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: entrypoint[1:], Mode: 0o555, Size: int64(len(binary)), Typeflag: tar.TypeReg}); err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}
