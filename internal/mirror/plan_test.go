// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

func TestConflicts(t *testing.T) {
	item := func(content string, chart *lock.Chart) *Item {
		return &Item{Job: Job{Source: "example.com/" + content + ":1", Target: "registry.example.com/a:1", Chart: chart}, State: StateMissing,
			desc: ocispec.Descriptor{Digest: digest.FromString(content)}}
	}
	failed := item("b", nil)
	failed.fail(fmt.Errorf("it is gone"))
	for name, tc := range map[string]struct {
		a, b *Item
		want string // in the errors of both; "" for none
	}{
		"no conflict of an image with itself": {item("a", nil), item("a", nil), ""},
		"nor with one that failed":            {item("a", nil), failed, ""},
		"two images":                          {item("a", nil), item("b", nil), "published under one tag"},
		"an image and a chart":                {item("a", nil), item("b", &lock.Chart{}), "one of them is a Helm chart"},
		"a chart and an image":                {item("a", &lock.Chart{}), item("b", nil), "one of them is a Helm chart"},
	} {
		t.Run(name, func(t *testing.T) {
			items := []*Item{tc.a, tc.b}
			for n := range 100 { // others, which do not hide the conflict
				other := item("other", nil)
				other.Target += fmt.Sprint(n)
				items = append(items, other)
			}
			failConflicts(items)
			for n, i := range items {
				if want := n < 2 && tc.want != ""; i != failed && (i.State == StateFailed) != want {
					t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
				}
			}
			if tc.want != "" && !strings.Contains(fmt.Sprint(tc.a.Err), tc.want) {
				t.Errorf("error %v, want %q", tc.a.Err, tc.want)
			}
		})
	}
}

func TestTotals(t *testing.T) {
	// Two repositories need x, and one y.
	images := []image{{"a", blobs{"x": 100, "y": 7}}, {"b", blobs{"x": 100}}, {"b", blobs{"x": 100}}}
	for name, tc := range map[string]struct {
		sharesBlobs         bool
		present             []string
		upload, mount, read int64
	}{
		"the target mounts blobs":       {true, nil, 107, 100, 107},
		"one of which it has":           {true, []string{"x"}, 7, 200, 7},
		"all of which it has":           {true, []string{"x", "y"}, 0, 207, 0},
		"the target mounts none":        {false, nil, 207, 0, 107},
		"although it has one elsewhere": {false, []string{"x"}, 207, 0, 107},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := planOf(images, tc.present...)
			p.sharesBlobs = tc.sharesBlobs
			p.sum()
			if p.Upload != tc.upload || p.Mount != tc.mount || p.Read != tc.read || p.Manifests != len(images) {
				t.Errorf("upload %d, mount %d, read %d, %d manifests; want %d, %d, %d, %d", p.Upload, p.Mount, p.Read, p.Manifests, tc.upload, tc.mount, tc.read, len(images))
			}
		})
	}
}

func TestDescribeLacks(t *testing.T) {
	for want, i := range map[string]Item{
		"lacks the manifest sha256:a":            {Lacks: []digest.Digest{"sha256:a"}},
		"lacks the manifest sha256:a and 1 more": {Lacks: []digest.Digest{"sha256:a", "sha256:b"}},
	} {
		if got := i.DescribeLacks(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestEmptyLayersForECR(t *testing.T) {
	for name, tc := range map[string]struct {
		host   string
		size   int64
		refuse bool
	}{
		"an empty layer":              {"123456789012.dkr.ecr.eu-west-1.amazonaws.com", 0, true},
		"a layer of one byte":         {"123456789012.dkr.ecr.eu-west-1.amazonaws.com", 1, false},
		"an empty layer for a Harbor": {"harbor.example.com", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := planOf([]image{{tc.host + "/a", blobs{"x": tc.size}}})
			if err := (&Mirror{}).readImage(t.Context(), p.toCopy[0]); (err != nil) != tc.refuse {
				t.Errorf("error %v", err)
			}
		})
	}
}
