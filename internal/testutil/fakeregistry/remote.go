// SPDX-License-Identifier: Apache-2.0

package fakeregistry

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// Push pushes an image or an index to a reference, and returns its digest.
func Push(tb testing.TB, ref string, content remote.Taggable, options ...remote.Option) (digest string) {
	tb.Helper()
	to := parse(tb, ref)
	if err := remote.Push(to, content, options...); err != nil {
		tb.Fatal(err)
	}
	descriptor, err := remote.Head(to, options...)
	if err != nil {
		tb.Fatal(err)
	}
	return descriptor.Digest.String()
}

// PushReferrer pushes an artifact with the manifest of ref as its subject, and
// returns the digest of the artifact.
func PushReferrer(tb testing.TB, ref string, artifact v1.Image) (digest string) {
	tb.Helper()
	r := parse(tb, ref)
	subject, err := remote.Head(r)
	if err != nil {
		tb.Fatal(err)
	}
	image, ok := mutate.Subject(artifact, *subject).(v1.Image)
	if !ok {
		tb.Fatal("the artifact is not an image")
	}
	d, err := image.Digest()
	if err != nil {
		tb.Fatal(err)
	}
	return Push(tb, r.Context().Digest(d.String()).String(), image)
}

// PushSignature pushes a signature of the manifest of ref under the tag that
// cosign uses for it, and returns the tag.
func PushSignature(tb testing.TB, ref string, signature v1.Image) (tag string) {
	tb.Helper()
	tag = strings.Replace(Digest(tb, ref), ":", "-", 1) + ".sig"
	Push(tb, parse(tb, ref).Context().Tag(tag).String(), signature)
	return tag
}

// Children returns the digests of the manifests of an index.
func Children(tb testing.TB, ref string) []string {
	tb.Helper()
	index, err := remote.Index(parse(tb, ref))
	if err != nil {
		tb.Fatal(err)
	}
	return digestsIn(tb, index)
}

func digestsIn(tb testing.TB, index v1.ImageIndex) (digests []string) {
	tb.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		tb.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		digests = append(digests, d.Digest.String())
	}
	return digests
}

// Delete deletes the manifest or the tag of a reference.
func Delete(tb testing.TB, ref string) {
	tb.Helper()
	if err := remote.Delete(parse(tb, ref)); err != nil {
		tb.Fatal(err)
	}
}

// Digest returns the digest of a reference, or "" if it does not exist.
func Digest(tb testing.TB, ref string) string {
	tb.Helper()
	descriptor, err := remote.Head(parse(tb, ref))
	var failed *transport.Error
	switch {
	case errors.As(err, &failed) && failed.StatusCode == http.StatusNotFound:
		return ""
	case err != nil:
		tb.Fatal(err)
	}
	return descriptor.Digest.String()
}

// Referrers returns the digests of the referrers of a reference, sorted.
func Referrers(tb testing.TB, ref string) []string {
	tb.Helper()
	index, err := remote.Referrers(parse(tb, ref).Context().Digest(Digest(tb, ref)))
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Sorted(slices.Values(digestsIn(tb, index)))
}

// Verify fails the test unless every blob of an image, or of all images of an
// index, can be pulled and has its digest.
func Verify(tb testing.TB, ref string) {
	tb.Helper()
	descriptor, err := remote.Get(parse(tb, ref))
	if err != nil {
		tb.Fatal(err)
	}
	if descriptor.MediaType.IsImage() {
		image, err := descriptor.Image()
		if err == nil {
			err = verify(image)
		}
		if err != nil {
			tb.Errorf("%s: %v", ref, err)
		}
		return
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		tb.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		tb.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		image, err := index.Image(d.Digest)
		if err == nil {
			err = verify(image)
		}
		if err != nil {
			tb.Errorf("%s: %s: %v", ref, d.Digest, err)
		}
	}
}

// verify reads all layers; the client verifies their digests.
func verify(image v1.Image) error {
	if err := validate.Image(image, validate.Fast); err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, content)
		if err := errors.Join(err, content.Close()); err != nil {
			return err
		}
	}
	return nil
}

func parse(tb testing.TB, ref string) name.Reference {
	tb.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
