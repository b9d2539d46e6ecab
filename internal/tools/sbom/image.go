// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const title = "org.opencontainers.image.title"

// addImage adds the image in an OCI archive: an index with an image for each
// platform, which contain Go programs.
func (d *document) addImage(archive string) (*spdx.Package, error) {
	dir, err := os.MkdirTemp("", "sbom-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := unpack(archive, dir); err != nil {
		return nil, err
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 {
		return nil, fmt.Errorf("the archive has %d images: one is expected", len(manifest.Manifests))
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	return d.addIndex(index)
}

func (d *document) addIndex(index v1.ImageIndex) (*spdx.Package, error) {
	digest, err := index.Digest()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var whole *spdx.Package
	for _, platform := range manifest.Manifests {
		image, err := index.Image(platform.Digest)
		if err != nil {
			return nil, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		name := config.Config.Labels[title]
		if name == "" {
			return nil, fmt.Errorf("the image for %s/%s has no label %s", config.OS, config.Architecture, title)
		}
		if whole == nil {
			whole = d.addContainer(name, digest, "")
		}
		part := d.addContainer(name, platform.Digest, "arch="+config.Architecture+"&os="+config.OS)
		d.relate(whole, contained, part)
		if err := d.addPrograms(part, image); err != nil {
			return nil, fmt.Errorf("image for %s/%s: %w", config.OS, config.Architecture, err)
		}
	}
	if whole == nil {
		return nil, errors.New("the index has no image")
	}
	return whole, nil
}

func (d *document) addContainer(name string, digest v1.Hash, qualifiers string) *spdx.Package {
	return d.add(&spdx.Package{
		PackageName: name, PackageVersion: d.version, PrimaryPackagePurpose: "CONTAINER", PackageLicenseDeclared: "Apache-2.0",
		PackageChecksums: []common.Checksum{{Algorithm: common.SHA256, Value: digest.Hex}},
	}, purl("oci", name, digest.String(), qualifiers, ""))
}

// addPrograms adds all files of an image, which must be Go programs.
func (d *document) addPrograms(image *spdx.Package, content v1.Image) error {
	layers, err := content.Layers()
	if err != nil {
		return err
	}
	programs := 0
	for _, layer := range layers {
		in, err := layer.Uncompressed()
		if err != nil {
			return err
		}
		err = eachFile(in, func(name string, data io.Reader) error {
			text, err := io.ReadAll(data)
			if err != nil {
				return err
			}
			program, err := d.addProgram(path.Base(name), text)
			if err != nil {
				return err
			}
			d.relate(image, contained, program)
			programs++
			return nil
		})
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	if programs == 0 {
		return errors.New("it has no program")
	}
	return nil
}

// unpack writes the files of a tar archive below a folder.
func unpack(archive, dir string) error {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return eachFile(in, func(name string, data io.Reader) error {
		if err := root.MkdirAll(filepath.Dir(filepath.FromSlash(name)), 0o755); err != nil {
			return err
		}
		out, err := root.Create(filepath.FromSlash(name))
		if err != nil {
			return err
		}
		_, err = io.Copy(out, data)
		return errors.Join(err, out.Close())
	})
}

// eachFile calls do for each regular file of a tar archive.
func eachFile(in io.Reader, do func(name string, data io.Reader) error) error {
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := do(h.Name, r); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}
