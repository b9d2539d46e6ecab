// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

// newClient returns a client of the data plane.
func newClient(t *testing.T, s *fakeecr.Server, r *Registry) *registry.Client {
	t.Helper()
	l, err := NewLogin(LoginConfig{Known: []*Registry{r}})
	if err != nil {
		t.Fatal(err)
	}
	base := registry.NewTransport()
	base.DialContext = s.Dial
	t.Cleanup(base.CloseIdleConnections)
	return registry.New(registry.Options{Transport: l.Transport(base), PlainHTTP: func(string) bool { return true }, Limits: func(string) registry.Limits { return nil }})
}

// pushManifest writes a manifest and returns its digest.
func pushManifest(t *testing.T, c *registry.Client, repository, mediaType, text, tag string) digest.Digest {
	t.Helper()
	d := digest.FromString(text)
	if err := c.PutManifest(t.Context(), repository, ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(text))}, []byte(text), tag); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestListAndDeleteImages(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	c := newClient(t, s, r)
	repository := s.Host() + "/castai/agent"
	s.Create("castai/agent")
	config := `{}`
	if err := c.Upload(t.Context(), repository, ocispec.Descriptor{Digest: digest.FromString(config), Size: 2}, io.MultiReader(strings.NewReader(config))); err != nil {
		t.Fatal(err)
	}
	manifest := func(i int, fields string) string {
		return fmt.Sprintf(`{"config":{"digest":%q,"size":2},"annotations":{"n":"%d"}%s}`, digest.FromString(config), i, fields)
	}
	child := pushManifest(t, c, repository, ocispec.MediaTypeImageManifest, manifest(0, ""), "")
	index := pushManifest(t, c, repository, ocispec.MediaTypeImageIndex, fmt.Sprintf(`{"manifests":[{"digest":%q}]}`, child), "v1")
	signature := pushManifest(t, c, repository, ocispec.MediaTypeImageManifest, manifest(1, fmt.Sprintf(`,"artifactType":"test/signature","subject":{"digest":%q}`, index)), "")
	old := pushManifest(t, c, repository, ocispec.MediaTypeImageManifest, manifest(2, ""), "old")
	if err := s.Archive("castai/agent", old); err != nil {
		t.Fatal(err)
	}
	images, err := r.Images(t.Context(), repository)
	if err != nil {
		t.Fatal(err)
	}
	found := map[digest.Digest]Detail{}
	for _, i := range images {
		if i.Pushed.IsZero() || !i.Pulled.IsZero() {
			t.Errorf("%s: times %v %v", i.Digest, i.Pushed, i.Pulled)
		}
		found[i.Digest] = i
	}
	if i := found[index]; len(images) != 4 || i.MediaType != ocispec.MediaTypeImageIndex || fmt.Sprint(i.Tags) != "[v1]" || i.Archived {
		t.Errorf("%d images; the index: %+v", len(images), i)
	}
	if i := found[signature]; i.Subject != index || i.ArtifactType != "test/signature" {
		t.Errorf("the signature: %+v", i)
	}
	if !found[old].Archived {
		t.Error("the archived image is not marked as such")
	}

	failures, err := r.Delete(t.Context(), repository, child, old, digest.FromString("gone"))
	if err != nil || len(failures) != 1 || failures[0].Digest != child || !errors.Is(failures[0].Err, ErrReferenced) {
		t.Errorf("%v %v", failures, err)
	}
	if failures, err = r.Delete(t.Context(), repository, signature, index, child); err != nil || len(failures) > 0 {
		t.Errorf("%v %v", failures, err)
	}
	if images, err = r.Images(t.Context(), repository); err != nil || len(images) > 0 {
		t.Errorf("%v %v", images, err)
	}
	_, err = r.Images(t.Context(), s.Host()+"/absent")
	if wantError(t, err, "arn:aws:ecr:eu-central-1:123456789012:repository/absent"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("error %v is not ErrNotFound", err)
	}
}

func TestImagesArePagedAndDeletedInBatches(t *testing.T) {
	s, r, _ := start(t, fakeecr.Options{}, Config{})
	c := newClient(t, s, r)
	repository := s.Host() + "/castai/agent"
	s.Create("castai/agent")
	var all []digest.Digest
	for i := range 1005 {
		all = append(all, pushManifest(t, c, repository, ocispec.MediaTypeImageManifest, fmt.Sprintf(`{"annotations":{"n":"%d"}}`, i), ""))
	}
	s.ResetLog()
	images, err := r.Images(t.Context(), repository)
	if err != nil || len(images) != len(all) || len(s.Log()) != 2 {
		t.Fatalf("%d images in %d requests: %v", len(images), len(s.Log()), err)
	}
	s.ResetLog()
	s.Inject(fakeecr.Fault{Match: fakeecr.On("BatchDeleteImage"), Times: 1, Status: 400, Code: "ThrottlingException"})
	if failures, err := r.Delete(t.Context(), repository, all...); err != nil || len(failures) > 0 {
		t.Errorf("%v: %v", failures, err)
	}
	var batches []int // ECR accepts 100 images in a request
	throttled := 0
	for _, request := range s.Log() {
		if request.Status == http.StatusBadRequest {
			throttled++
			continue
		}
		batches = append(batches, request.Deleted)
	}
	if want := append(slices.Repeat([]int{100}, 10), 5); !slices.Equal(batches, want) || throttled != 1 {
		t.Errorf("batches of %v images, want %v; %d requests were throttled, want 1", batches, want, throttled)
	}
	if images, err = r.Images(t.Context(), repository); err != nil || len(images) > 0 {
		t.Errorf("%d images: %v", len(images), err)
	}
}
