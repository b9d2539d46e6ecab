// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// The corpus: as many images as an onboarding of all features has, for two
// platforms each. Eight share one base, eight another. 590 MB are unique; counted
// once for each repository it is 1,148 MB.
const (
	images      = 16
	baseLayer   = 9_965_000 // two of them for a platform
	uniqueLarge = 11_950_000
	uniqueSmall = 3_990_000
)

// corpus pushes the images to a registry, as library/image-0:v1 and so on.
func corpus(host string) error {
	all := errgroup.Group{}
	all.SetLimit(4)
	for i := range images {
		all.Go(func() error {
			ref, err := name.ParseReference(fmt.Sprintf("%s/library/image-%d:v1", host, i), name.Insecure)
			if err != nil {
				return err
			}
			index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
			for n, arch := range []string{"amd64", "arm64"} {
				image, err := build(i, n, arch)
				if err != nil {
					return err
				}
				index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
			}
			return remote.WriteIndex(ref, index)
		})
	}
	return all.Wait()
}

func build(i, n int, arch string) (v1.Image, error) {
	image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: "linux", Architecture: arch, Author: fmt.Sprint(i)})
	if err != nil {
		return nil, err
	}
	base, unique := 1000+100*(i%2)+10*n, 10_000+100*i+10*n
	return mutate.AppendLayers(mutate.ConfigMediaType(image, types.OCIConfigJSON),
		random(base, baseLayer), random(base+1, baseLayer), random(unique, uniqueLarge), random(unique+1, uniqueSmall))
}

// random is a layer that cannot be compressed, as real ones are already.
func random(seed, size int) v1.Layer {
	content := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	_, _ = io.ReadFull(r, content)
	return static.NewLayer(content, types.OCILayer)
}

// compare returns how many images are not the same in both registries.
func compare(source, target func(i int) string) (different int, err error) {
	for i := range images {
		var digests [2]v1.Hash
		for n, ref := range []string{source(i), target(i)} {
			r, err := name.ParseReference(ref, name.Insecure)
			if err != nil {
				return 0, err
			}
			d, err := remote.Head(r)
			if err != nil {
				return 0, err
			}
			digests[n] = d.Digest
		}
		if digests[0] != digests[1] {
			different++
		}
	}
	return different, nil
}
