// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/registry"
)

// memory is a source with any content, valid or not.
type memory struct {
	mu      sync.Mutex
	content map[digest.Digest][]byte
	reads   []digest.Digest // of manifests
}

func newMemory() *memory { return &memory{content: map[digest.Digest][]byte{}} }

func (s *memory) add(mediaType string, content []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	s.content[d.Digest] = content
	return d
}

// manifest adds an image for linux and an architecture, and index an index.
func (s *memory) manifest(architecture string) ocispec.Descriptor {
	config := s.add(ocispec.MediaTypeImageConfig, fmt.Appendf(nil, `{"os":"linux","architecture":%q}`, architecture))
	return s.add(ocispec.MediaTypeImageManifest, marshal(ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{}}))
}

func (s *memory) index(manifests ...ocispec.Descriptor) ocispec.Descriptor {
	return s.add(ocispec.MediaTypeImageIndex, marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests}))
}

func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types can be marshaled
	}
	return text
}

func (s *memory) Manifest(_ context.Context, _ string, d ocispec.Descriptor) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, d.Digest)
	text, ok := s.content[d.Digest]
	if !ok {
		return nil, registry.ErrNotFound
	}
	return text, nil
}

func (s *memory) Blob(ctx context.Context, repository string, d ocispec.Descriptor) (io.ReadCloser, error) {
	text, err := s.Manifest(ctx, repository, d)
	return io.NopCloser(bytes.NewReader(text)), err
}

func (s *memory) HasBlob(_ context.Context, _ string, d ocispec.Descriptor) (bool, error) {
	_, ok := s.content[d.Digest]
	return ok, nil
}

func (s *memory) Resolve(context.Context, string, string) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, registry.ErrNotFound
}

func (s *memory) Referrers(context.Context, string, ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return nil, nil
}

// on returns a descriptor with a platform such as linux/arm64/v8.
func on(d ocispec.Descriptor, platform string) ocispec.Descriptor {
	parts := append(strings.Split(platform, "/"), "")
	d.Platform = &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
	return d
}

// attestationOf returns the entry of an attestation as BuildKit writes it.
func attestationOf(d, image ocispec.Descriptor) ocispec.Descriptor {
	d = on(d, "unknown/unknown")
	d.Annotations = map[string]string{attestationSubject: image.Digest.String()}
	return d
}

func TestHostileTrees(t *testing.T) {
	s := newMemory()
	amd64 := s.manifest("amd64")
	nested := amd64
	for range maxDepth + 1 {
		nested = s.index(nested)
	}
	var many, large, wide []ocispec.Descriptor
	for i := range maxManifests {
		many = append(many, s.manifest(fmt.Sprint("arch-", i)))
	}
	for i := range maxTreeSize/maxManifestSize + 1 {
		text := append(fmt.Appendf(nil, `{"layers":[],"n":%d}`, i), bytes.Repeat([]byte(" "), maxManifestSize-30)...)
		large = append(large, s.add(ocispec.MediaTypeImageManifest, text))
	}
	wide = slices.Repeat([]ocispec.Descriptor{amd64}, maxReferences+1)
	descriptor := func(change func(*ocispec.Descriptor)) ocispec.Descriptor {
		d := amd64
		change(&d)
		return s.index(d)
	}
	layer := func(text string) ocispec.Descriptor {
		return s.add(ocispec.MediaTypeImageManifest, []byte(`{"layers":[`+text+`]}`))
	}
	unsupported := s.add("application/vnd.docker.distribution.manifest.v1+json", []byte(`{}`))
	tooLarge := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: amd64.Digest, Size: maxManifestSize + 1}
	for name, tc := range map[string]struct {
		root ocispec.Descriptor
		want string
	}{
		"nested too deep":              {nested, "nested more than 4 levels"},
		"too many manifests":           {s.index(many...), "more than 1000 manifests"},
		"too many bytes of manifests":  {s.index(large...), "of more than 32 MiB"},
		"too many entries":             {s.index(wide...), "at most 2000"},
		"too large by its descriptor":  {tooLarge, "has 4194305 bytes"},
		"too large child":              {descriptor(func(d *ocispec.Descriptor) { d.Size = maxManifestSize + 1 }), "has 4194305 bytes"},
		"negative size of a child":     {descriptor(func(d *ocispec.Descriptor) { d.Size = -1 }), "has -1 bytes"},
		"child without a size":         {descriptor(func(d *ocispec.Descriptor) { d.Size = 0 }), "of 0 bytes"},
		"child without a digest":       {descriptor(func(d *ocispec.Descriptor) { d.Digest = "" }), "digest"},
		"child with a path for digest": {descriptor(func(d *ocispec.Descriptor) { d.Digest = "sha256:../../etc" }), "digest"},
		"a layer with a negative size": {layer(`{"digest":"` + amd64.Digest.String() + `","size":-5}`), "of -5 bytes"},
		"a layer of 2^60 bytes":        {layer(`{"digest":"` + amd64.Digest.String() + `","size":1152921504606846976}`), "1152921504606846976"},
		"a layer that is null":         {layer(`null`), "invalid blob"},
		"ambiguous":                    {s.add(ocispec.MediaTypeImageManifest, marshal(ocispec.Index{Manifests: []ocispec.Descriptor{amd64}})), "ambiguous"},
		"no JSON":                      {s.add(ocispec.MediaTypeImageManifest, []byte("<html>")), "not a manifest"},
		"a list of strings":            {s.add(ocispec.MediaTypeImageIndex, []byte(`{"manifests":["a"]}`)), "not a manifest"},
		"schema 1":                     {unsupported, "is not supported"},
		"a child that is gone":         {s.index(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 9}), "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, platforms := range [][]string{nil, {"linux/amd64"}} {
				n, err := newTreeReader(s, "example.com/hostile", platforms).read(t.Context(), tc.root, 0)
				if n != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("platforms %v: %v, want %q", platforms, err, tc.want)
				}
			}
		})
	}
}

func TestSizesOfTrees(t *testing.T) {
	for name, tc := range map[string]struct {
		sizes []int64
		ok    bool
	}{
		"a manifest of the largest size": {[]int64{maxManifestSize}, true},
		"a larger one":                   {[]int64{maxManifestSize + 1}, false},
		"manifests of the largest size":  {slices.Repeat([]int64{maxManifestSize}, maxTreeSize/maxManifestSize), true},
		"and one byte more":              {append(slices.Repeat([]int64{maxManifestSize}, maxTreeSize/maxManifestSize), 1), false},
	} {
		r := newTreeReader(newMemory(), "example.com/image", nil)
		var err error
		for _, size := range tc.sizes {
			err = r.addSize(size)
		}
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDocuments(t *testing.T) {
	d := func(name, mediaType string, size int64) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(name), Size: size}
	}
	const manifest, layer, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageIndex
	var many []ocispec.Descriptor
	for n := range maxReferences {
		many = append(many, d(fmt.Sprint(n), layer, 1))
	}
	for name, tc := range map[string]struct {
		mediaType       string
		text            any
		children, blobs []ocispec.Descriptor
	}{
		"what an index names are children":         {index, ocispec.Index{Manifests: []ocispec.Descriptor{d("a", manifest, 1), d("b", index, 2)}}, []ocispec.Descriptor{d("a", manifest, 1), d("b", index, 2)}, nil},
		"but for what is no manifest":              {index, ocispec.Index{Manifests: []ocispec.Descriptor{d("a", manifest, 1), d("b", layer, 2)}}, []ocispec.Descriptor{d("a", manifest, 1)}, []ocispec.Descriptor{d("b", layer, 2)}},
		"each child once":                          {index, ocispec.Index{Manifests: []ocispec.Descriptor{d("a", manifest, 1), d("a", manifest, 1)}}, []ocispec.Descriptor{d("a", manifest, 1)}, nil},
		"a child of the largest size":              {index, ocispec.Index{Manifests: []ocispec.Descriptor{d("a", manifest, maxManifestSize)}}, []ocispec.Descriptor{d("a", manifest, maxManifestSize)}, nil},
		"the blobs are layers and configuration":   {manifest, map[string]any{"config": d("c", layer, 1), "layers": []ocispec.Descriptor{d("a", layer, 2), d("a", layer, 2)}}, nil, []ocispec.Descriptor{d("a", layer, 2), d("c", layer, 1)}},
		"a layer that is empty, and a largest one": {manifest, map[string]any{"layers": []ocispec.Descriptor{d("a", layer, 0), d("b", layer, maxBlobSize)}}, nil, []ocispec.Descriptor{d("a", layer, 0), d("b", layer, maxBlobSize)}},
		"as many layers as allowed":                {manifest, map[string]any{"layers": many}, nil, many},
		"the blobs of an artifact":                 {ociArtifact, map[string]any{"blobs": many[:2]}, nil, many[:2]},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := parseDocument(tc.mediaType, marshal(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.children, doc.children()); diff != "" {
				t.Errorf("children: %s", diff)
			}
			if diff := cmp.Diff(tc.blobs, doc.blobs()); diff != "" {
				t.Errorf("blobs: %s", diff)
			}
		})
	}
}

// A manifest that several indexes name is read once, so that the number of paths to it
// does not matter.
func TestManifestsAreReadOnce(t *testing.T) {
	s := newMemory()
	level := []ocispec.Descriptor{s.manifest("amd64")}
	for range maxDepth - 1 {
		var next []ocispec.Descriptor
		for n := range 30 {
			entries := slices.Clone(level)
			entries[0].Annotations = map[string]string{"n": fmt.Sprint(n)}
			next = append(next, s.index(slices.Repeat(entries, 10)...))
		}
		level = next
	}
	root := s.index(level...)
	n, err := newTreeReader(s, "example.com/image", nil).read(t.Context(), root, 0)
	if err != nil {
		t.Fatal(err)
	}
	visited := 0
	n.walk(func(*node) { visited++ })
	if want := 30*(maxDepth-1) + 2; visited != want || len(s.reads) != want {
		t.Errorf("%d nodes, %d reads, want %d", visited, len(s.reads), want)
	}
}

func TestPlatformFilter(t *testing.T) {
	s := newMemory()
	amd64, arm64, armv6, armv7 := s.manifest("amd64"), s.manifest("arm64"), s.manifest("arm"), s.manifest("arm7")
	configured := func(size int) ocispec.Descriptor { // an image for linux/arm64, with a configuration of the size
		text := `{"os":"linux","architecture":"arm64"}`
		config := s.add(ocispec.MediaTypeImageConfig, []byte(text+strings.Repeat(" ", size-len(text))))
		return s.add(ocispec.MediaTypeImageManifest, marshal(ocispec.Manifest{Config: config}))
	}
	artifact := s.add(ocispec.MediaTypeImageManifest, marshal(ocispec.Manifest{Config: s.add("text/plain", []byte("no JSON"))}))
	attestAMD64, attestARM64 := s.manifest("attestation-1"), s.manifest("attestation-2")
	for name, tc := range map[string]struct {
		platforms []string
		index     ocispec.Descriptor
		want      []ocispec.Descriptor // leaves
		wantErr   string
	}{
		"arm64 is arm64/v8": {platforms: []string{"linux/arm64"},
			index: s.index(on(amd64, "linux/amd64"), on(arm64, "linux/arm64/v8")), want: []ocispec.Descriptor{arm64}},
		"another name of amd64": {platforms: []string{"linux/amd64"},
			index: s.index(on(amd64, "Linux/x86_64"), on(arm64, "linux/aarch64")), want: []ocispec.Descriptor{amd64}},
		"arm is arm/v7": {platforms: []string{"linux/arm/v7"},
			index: s.index(on(armv6, "linux/arm/v6"), on(armv7, "linux/arm")), want: []ocispec.Descriptor{armv7}},
		"arm without a variant is each": {platforms: []string{"linux/arm"},
			index: s.index(on(amd64, "linux/amd64"), on(armv6, "linux/arm/v6"), on(armv7, "linux/arm/7")), want: []ocispec.Descriptor{armv6, armv7}},
		"one digest under two platforms": {platforms: []string{"linux/amd64"},
			index: s.index(on(amd64, "linux/amd64"), on(amd64, "linux/arm64"), on(arm64, "linux/arm64")), want: []ocispec.Descriptor{amd64}},
		"attestations follow their image": {platforms: []string{"linux/arm64"},
			index: s.index(attestationOf(attestAMD64, amd64), on(amd64, "linux/amd64"), on(arm64, "linux/arm64"), attestationOf(attestARM64, arm64)),
			want:  []ocispec.Descriptor{arm64, attestARM64}},
		"nested indexes": {platforms: []string{"linux/arm64"},
			index: s.index(s.index(on(amd64, "linux/amd64")), s.index(on(armv7, "linux/arm/v7"), on(arm64, "linux/arm64"))), want: []ocispec.Descriptor{arm64}},
		"an entry without a platform has that of its configuration": {platforms: []string{"linux/arm64"},
			index: s.index(amd64, arm64), want: []ocispec.Descriptor{arm64}},
		"artifacts have no platform": {platforms: []string{"linux/arm64"}, index: s.index(artifact), want: []ocispec.Descriptor{artifact}},
		"and are not the image":      {platforms: []string{"linux/arm64"}, index: s.index(on(amd64, "linux/amd64"), artifact), wantErr: "only linux/amd64"},
		"nor is one whose configuration is not read for its size": {platforms: []string{"linux/arm64"},
			index: s.index(configured(maxConfigSize+1), on(amd64, "linux/amd64")), wantErr: "only linux/amd64"},
		"the largest configuration that is read": {platforms: []string{"linux/arm64"},
			index: s.index(configured(maxConfigSize), on(amd64, "linux/amd64")), want: []ocispec.Descriptor{configured(maxConfigSize)}},
		"all platforms": {platforms: []string{"linux/arm64", "linux/amd64"},
			index: s.index(on(amd64, "linux/amd64"), on(arm64, "linux/arm64")), want: []ocispec.Descriptor{amd64, arm64}},
		"none": {platforms: []string{"linux/s390x"},
			index: s.index(s.index(on(amd64, "linux/amd64")), arm64), wantErr: "none of the platforms linux/s390x, only linux/amd64, linux/arm64"},
		"no platform at all": {platforms: []string{"linux/s390x"},
			index: s.index(on(amd64, "unknown/unknown")), wantErr: "names no platform"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := newTreeReader(s, "example.com/image", tc.platforms).read(t.Context(), tc.index, 0)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got, want []digest.Digest
			n.walk(func(n *node) {
				checkNode(t, n)
				if len(n.children) == 0 {
					got = append(got, n.desc.Digest)
				}
			})
			for _, d := range tc.want {
				want = append(want, d.Digest)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// checkNode fails the test unless the content of a node has its digest, and names its
// children.
func checkNode(t *testing.T, n *node) {
	t.Helper()
	if n.desc.Digest != n.desc.Digest.Algorithm().FromBytes(n.raw) || n.desc.Size != int64(len(n.raw)) {
		t.Errorf("%s is not the digest of %s", n.desc.Digest, n.raw)
	}
	doc, err := parseDocument(n.desc.MediaType, n.raw)
	if err != nil {
		t.Fatal(err)
	}
	var named, children []digest.Digest
	for _, d := range doc.children() {
		named = append(named, d.Digest)
	}
	for _, c := range n.children {
		children = append(children, c.desc.Digest)
	}
	if diff := cmp.Diff(named, children); diff != "" {
		t.Errorf("%s: %s", n.raw, diff)
	}
}

// A layer is left out if its type and a URL say that it may be elsewhere, and the source lacks it.
func TestExternalLayers(t *testing.T) {
	const foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	s := newMemory()
	stored := s.add(foreign, []byte("stored"))
	stored.URLs = []string{"https://example.com/layer"}
	absent := func(mediaType string, urls ...string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString("absent"), Size: 9, URLs: urls}
	}
	for name, tc := range map[string]struct {
		layer    ocispec.Descriptor
		external bool
	}{
		"elsewhere":             {absent(foreign, "https://example.com/layer"), true},
		"of the OCI":            {absent("application/vnd.oci.image.layer.nondistributable.v1.tar", "https://example.com/layer"), true},
		"in the source":         {stored, false},
		"without a URL":         {absent(foreign), false},
		"of a type that is not": {absent(ocispec.MediaTypeImageLayer, "https://example.com/layer"), false},
	} {
		t.Run(name, func(t *testing.T) {
			in, out, err := newTreeReader(s, "example.com/image", nil).splitBlobs(t.Context(), []ocispec.Descriptor{tc.layer})
			if err != nil || len(in)+len(out) != 1 || (len(out) == 1) != tc.external {
				t.Errorf("stored %v, external %v, %v", in, out, err)
			}
		})
	}
}

// lookupFails is a source that does not tell whether it has a blob.
type lookupFails struct {
	*memory
	err error
}

func (s lookupFails) HasBlob(context.Context, string, ocispec.Descriptor) (bool, error) {
	return false, s.err
}

func TestExternalLayersThatCannotBeLookedUp(t *testing.T) {
	s := newMemory()
	layer := ocispec.Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromString("absent"), Size: 9, URLs: []string{"https://example.com/layer"}}
	image := s.add(ocispec.MediaTypeImageManifest, marshal(ocispec.Manifest{Config: s.add(ocispec.MediaTypeImageConfig, []byte("{}")), Layers: []ocispec.Descriptor{layer}}))
	for failure, want := range map[error]error{registry.ErrTransient: registry.ErrTransient, registry.ErrDenied: nil} {
		n, err := newTreeReader(lookupFails{s, failure}, "example.com/image", nil).read(t.Context(), image, 0)
		if !errors.Is(err, want) || err == nil && len(n.external) != 1 {
			t.Errorf("%v: %v, want %v", failure, err, want)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for text, want := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/arm64/v8": "linux/arm64", "Linux/ARM64": "linux/arm64", "linux/aarch64": "linux/arm64", "linux/amd64/v1": "linux/amd64",
		"linux/amd64/v3": "linux/amd64/v3", "linux/arm": "linux/arm", "linux/arm/7": "linux/arm/v7", "linux/arm/0": "linux/arm/v0", "linux/arm/9": "linux/arm/v9", "linux/armhf": "linux/arm/v7", "linux/arm64/v9.0": "linux/arm64/v9", "windows/x86_64": "windows/amd64",
	} {
		if got, err := parsePlatform(text); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"arm64": "use linux/arm64", "x86_64": "use linux/amd64", "": "not of the form", "linux": "not of the form", "linux/": "not of the form", "linux/amd64/v1/v2": "not of the form",
		"linux/amd46": `unknown architecture "amd46"`, "linus/amd64": `unknown operating system "linus"`, "linux/all": "unknown architecture", "all": "not of the form", "linux/am d64": "unknown architecture",
	} {
		if got, err := parsePlatform(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
}

func TestParsePlatforms(t *testing.T) {
	got, err := ParsePlatforms([]string{"linux/arm64/v8", "linux/amd64", "linux/arm64"})
	if want := []string{"linux/arm64", "linux/amd64"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	if got, err := ParsePlatforms([]string{"linux/amd64", "arm64"}); err == nil {
		t.Errorf("no error for a platform without a system: %v", got)
	}
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux/arm64/v8", "arm64", "linux/arm/7", "///", "a/b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once, err := parsePlatform(text)
		if err != nil {
			return
		}
		if twice, err := parsePlatform(once); err != nil || twice != once {
			t.Errorf("%q is %q, and that is %q: %v", text, once, twice, err)
		}
	})
}

// Any document ends as an error, or as a tree whose content has its digests.
func FuzzReadTree(f *testing.F) {
	s := newMemory()
	amd64, arm64 := s.manifest("amd64"), s.manifest("arm64")
	child := marshal(on(arm64, "linux/arm64"))
	for _, text := range []string{
		string(s.content[s.index(on(amd64, "linux/amd64"), on(arm64, "linux/arm64/v8")).Digest]),
		string(s.content[s.index(on(amd64, "linux/amd64"), s.index(on(arm64, "linux/arm64"), amd64)).Digest]),
		`{"manifests":[` + string(child) + `,` + string(child) + `],"Manifests":[]}`,
		`{"Manifests":[` + string(child) + `,` + string(child) + `],"manifests":[` + string(child) + `]}`,
		`{"manifests":[null]}`, `{"manifests":null,"layers":null,"config":null}`, `{"layers":[{"size":-1}]}`, `[]`, `null`, ``,
		`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}]}`,
	} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, isIndex bool) {
		mediaType := ocispec.MediaTypeImageManifest
		if isIndex {
			mediaType = ocispec.MediaTypeImageIndex
		}
		root := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
		source := newMemory()
		maps.Copy(source.content, s.content)
		source.content[root.Digest] = text
		for _, platforms := range [][]string{nil, {"linux/arm64"}} {
			n, err := newTreeReader(source, "example.com/image", platforms).read(t.Context(), root, 0)
			if err != nil {
				continue
			}
			if platforms == nil && !bytes.Equal(n.raw, text) {
				t.Errorf("the root changed: %s", n.raw)
			}
			n.walk(func(n *node) { checkNode(t, n) })
			n.listPlatforms()
			n.totalSize()
		}
	})
}
