// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// holding is a target with content, but for a manifest whose read fails.
type holding struct {
	Target
	content *memory
	fails   digest.Digest
	failure error
}

func (h holding) Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error) {
	if d.Digest == h.fails {
		return nil, h.failure
	}
	return h.content.Manifest(ctx, repository, d)
}

// The manifests of a locked image are those that its index in the target names, at any depth.
func TestManifestsOfALockedImage(t *testing.T) {
	s := newMemory()
	amd64, arm64 := s.manifest("amd64"), s.manifest("arm64")
	inner := s.index(amd64, arm64)
	nested := s.index(inner, amd64)
	invalid := s.add(ocispec.MediaTypeImageIndex, []byte("<html>"))
	many := []ocispec.Descriptor{}
	for n := range maxManifests {
		many = append(many, s.manifest(fmt.Sprint("arch-", n)))
	}
	largest := s.index(many[1:]...)
	for name, tc := range map[string]struct {
		root    ocispec.Descriptor
		failure error // to read the inner index
		want    []ocispec.Descriptor
		wantErr string
	}{
		"one manifest":              {root: amd64, want: []ocispec.Descriptor{amd64}},
		"each of an index":          {root: inner, want: []ocispec.Descriptor{inner, amd64, arm64}},
		"each once":                 {root: nested, want: []ocispec.Descriptor{nested, inner, amd64, arm64}},
		"an index that is gone":     {root: nested, failure: registry.ErrNotFound, want: []ocispec.Descriptor{nested, inner, amd64}},
		"an index that is not read": {root: nested, failure: registry.ErrDenied, wantErr: "not allowed"},
		"an index that is invalid":  {root: s.index(invalid), wantErr: "not a manifest"},
		"as many as allowed":        {root: largest, want: append([]ocispec.Descriptor{largest}, many[1:]...)},
		"more than that":            {root: s.index(many...), wantErr: "more than 1000 manifests"},
	} {
		t.Run(name, func(t *testing.T) {
			target := holding{content: s}
			if tc.failure != nil {
				target.fails, target.failure = inner.Digest, tc.failure
			}
			m := &Mirror{Target: target}
			item := &Item{Job: Job{Target: repository + ":1"}}
			got, err := m.listManifests(t.Context(), item, content{tc.root, s.content[tc.root.Digest]})
			if (err != nil) != (tc.wantErr != "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Fatalf("error %v, want %q", err, tc.wantErr)
			}
			if diff := cmp.Diff(digestsOf(tc.want), digestsOf(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func digestsOf(descriptors []ocispec.Descriptor) (all []digest.Digest) {
	for _, d := range descriptors {
		all = append(all, d.Digest)
	}
	return all
}
