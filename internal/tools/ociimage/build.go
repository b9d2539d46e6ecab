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

// The user of the program, and the working directory of one that writes files.
const (
	user    = 65532
	workDir = "/work"
)

// spec describes an image.
type spec struct {
	name, version string
	binaries      map[string]string // files by architecture
	ports         []string
	writable      bool
}

// build returns an index with an image for each architecture, in the order of their
// names.
func (s spec) build() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range slices.Sorted(maps.Keys(s.binaries)) {
		image, err := s.buildImage(arch)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.binaries[arch], err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index, nil
}

// buildImage returns the image of an architecture, which corresponds to a last stage of
// the Dockerfile.
func (s spec) buildImage(arch string) (v1.Image, error) {
	data, err := os.ReadFile(s.binaries[arch])
	if err != nil {
		return nil, err
	}
	if err := checkStatic(data, arch); err != nil {
		return nil, err
	}
	layerTar, err := s.tarLayer(data)
	if err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layerTar)), nil },
		tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: s.config(), RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "COPY " + s.name + " /"}})
}

func (s spec) config() v1.Config {
	c := v1.Config{
		Entrypoint: []string{"/" + s.name},
		User:       fmt.Sprintf("%d:%d", user, user),
		WorkingDir: "/",
		Labels: map[string]string{
			"org.opencontainers.image.title":    s.name,
			"org.opencontainers.image.source":   "https://github.com/castai/privatelink-webhook",
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.version":  s.version,
		},
	}
	if s.writable {
		c.WorkingDir = workDir
	}
	for _, port := range s.ports {
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		c.ExposedPorts[port+"/tcp"] = struct{}{}
	}
	return c
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

// tarLayer returns a tar archive with the binary, owned by root, and the folders that
// the program writes to. No entry has a time stamp.
func (s spec) tarLayer(binary []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if s.writable {
		for _, h := range []tar.Header{{Name: "tmp/", Mode: 0o1777}, {Name: workDir[1:] + "/", Mode: 0o755, Uid: user, Gid: user}} {
			h.Typeflag = tar.TypeDir
			if err := w.WriteHeader(&h); err != nil {
				return nil, err
			}
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: s.name, Mode: 0o555, Size: int64(len(binary)), Typeflag: tar.TypeReg}); err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}
