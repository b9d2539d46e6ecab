// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"math/rand/v2"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Layer returns a layer of size bytes, which the seed determines.
func Layer(seed uint64, size int) v1.Layer {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(content) // never fails
	return static.NewLayer(content, types.OCILayer)
}

// Image returns an OCI image for linux and an architecture. The architecture
// "unknown" stands for the platform unknown/unknown of attestations.
func Image(tb testing.TB, arch string, layers ...v1.Layer) v1.Image {
	tb.Helper()
	os := "linux"
	if arch == "unknown" {
		os = "unknown"
	}
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{OS: os, Architecture: arch, RootFS: v1.RootFS{Type: "layers"}})
	if err == nil {
		image, err = mutate.AppendLayers(mutate.ConfigMediaType(image, types.OCIConfigJSON), layers...)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return image
}

// Index returns an index of images, with the platform of each.
func Index(tb testing.TB, images ...v1.Image) v1.ImageIndex {
	tb.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			tb.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: config.Platform()}})
	}
	return index
}

// MultiArch returns an index of an image for linux/amd64 and one for
// linux/arm64, which have a layer of size bytes for each seed.
func MultiArch(tb testing.TB, size int, seeds ...uint64) v1.ImageIndex {
	tb.Helper()
	var images []v1.Image
	for n, arch := range []string{"amd64", "arm64"} {
		var layers []v1.Layer
		for _, seed := range seeds {
			layers = append(layers, Layer(2*seed+uint64(n), size))
		}
		images = append(images, Image(tb, arch, layers...))
	}
	return Index(tb, images...)
}

// Foreign returns an image with a layer that registries need not store because it has
// a URL, and the digest of the layer.
func Foreign(tb testing.TB, url string) (image v1.Image, layer string) {
	tb.Helper()
	content := static.NewLayer([]byte("content of "+url), types.OCIUncompressedRestrictedLayer)
	image, err := mutate.Append(Image(tb, "amd64"), mutate.Addendum{Layer: content, URLs: []string{url}, MediaType: types.OCIUncompressedRestrictedLayer})
	if err != nil {
		tb.Fatal(err)
	}
	digest, err := content.Digest()
	if err != nil {
		tb.Fatal(err)
	}
	return image, digest.String()
}

// WithAttestations adds an attestation for each image of an index, in the form
// in which BuildKit stores them.
// https://docs.docker.com/build/metadata/attestations/attestation-storage/
func WithAttestations(tb testing.TB, index v1.ImageIndex) v1.ImageIndex {
	tb.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		tb.Fatal(err)
	}
	for _, image := range manifest.Manifests {
		digest := image.Digest.String()
		statement := static.NewLayer([]byte(`{"subject":"`+digest+`"}`), "application/vnd.in-toto+json")
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: Image(tb, "unknown", statement), Descriptor: v1.Descriptor{
			Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest},
		}})
	}
	return index
}

// WriteLayout writes an OCI layout with an index under a tag to a folder.
func WriteLayout(tb testing.TB, dir, tag string, index v1.ImageIndex) {
	tb.Helper()
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag}))
	}
	if err != nil {
		tb.Fatal(err)
	}
}
