// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobs are blobs with their sizes in bytes.
type blobs map[string]int64

// image is an image for a repository of the target.
type image struct {
	repository string
	blobs      blobs
}

// planOf returns the plan to copy images, and the name of each blob. Blobs in present are in
// the repository "old" of the target.
func planOf(images []image, present ...string) (*Plan, map[digest.Digest]string) {
	p, names := &Plan{}, map[digest.Digest]string{}
	for n, i := range images {
		root := &node{desc: ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint("manifest ", n))}}
		for _, name := range slices.Sorted(maps.Keys(i.blobs)) {
			d := digest.FromString(name)
			names[d] = name
			root.blobs = append(root.blobs, ocispec.Descriptor{Digest: d, Size: i.blobs[name]})
		}
		p.toCopy = append(p.toCopy, &Item{Job: Job{Source: "example.com/a:1", Target: i.repository + ":1"}, root: root})
	}
	p.collectBlobs()
	for _, name := range present {
		p.blobs[digest.FromString(name)].presentIn = "old"
	}
	return p, names
}

func TestMountSources(t *testing.T) {
	type images []image
	type sources []map[string]string // the repository of each blob that others mount, in the order of choice
	for name, tc := range map[string]struct {
		images  images
		present []string
		want    sources
	}{
		"none for what one image needs":            {images{{"a", blobs{"x": 100}}, {"b", blobs{"y": 100}}}, nil, nil},
		"none for what one repository needs":       {images{{"a", blobs{"x": 100}}, {"a", blobs{"x": 100, "y": 1}}}, nil, nil},
		"none for what the target has":             {images{{"a", blobs{"x": 100}}, {"b", blobs{"x": 100}}}, []string{"x"}, nil},
		"of equals the first":                      {images{{"a", blobs{"x": 100}}, {"b", blobs{"x": 100}}}, nil, sources{{"x": "a"}}},
		"the image with less of its own":           {images{{"a", blobs{"x": 100, "y": 900}}, {"b", blobs{"x": 100, "z": 90}}}, nil, sources{{"x": "b"}}},
		"what the target has costs no upload":      {images{{"a", blobs{"x": 100, "z": 90}}, {"b", blobs{"old": 900, "x": 100}}}, []string{"old"}, sources{{"x": "b"}}},
		"the image that others share more with":    {images{{"a", blobs{"x": 100, "p": 100}}, {"b", blobs{"y": 100, "q": 100}}, {"c", blobs{"x": 100, "y": 100, "r": 100}}}, nil, sources{{"x": "c", "y": "c"}}},
		"each blob from one image":                 {images{{"a", blobs{"x": 100, "y": 100}}, {"b", blobs{"x": 100, "z": 100}}, {"c", blobs{"y": 100, "z": 100}}}, nil, sources{{"x": "a", "y": "a"}, {"z": "b"}}},
		"bytes are saved once for each repository": {images{{"a", blobs{"x": 300, "p": 100}}, {"b", blobs{"x": 300, "q": 900}}, {"c", blobs{"y": 120, "r": 280}}, {"d", blobs{"y": 120, "s": 900}}, {"e", blobs{"y": 120, "t": 900}}, {"f", blobs{"y": 120, "u": 900}}}, nil, sources{{"y": "c"}, {"x": "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, names := planOf(tc.images, tc.present...)
			var got sources
			for _, s := range chooseMountSources(p) {
				of := map[string]string{}
				for _, b := range s.blobs {
					of[names[b.desc.Digest]] = s.repository
				}
				got = append(got, of)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
