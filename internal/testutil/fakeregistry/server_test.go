// SPDX-License-Identifier: Apache-2.0

package fakeregistry_test

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

func TestPushAndPull(t *testing.T) {
	s := fakeregistry.Start(t)
	ref := s.Host + "/castai/agent:v1"
	index := fakeregistry.WithAttestations(t, fakeregistry.MultiArch(t, 1000, 1, 2))
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64", "unknown/unknown", "unknown/unknown"}, platforms); diff != "" {
		t.Error(diff)
	}

	pushed := fakeregistry.Push(t, ref, index)
	if got := fakeregistry.Digest(t, ref); got != pushed {
		t.Errorf("Digest() = %q, want %q", got, pushed)
	}
	fakeregistry.Verify(t, ref)
	if got := fakeregistry.Digest(t, s.Host+"/castai/agent:v2"); got != "" {
		t.Errorf("a tag that does not exist has the digest %q", got)
	}

	referrer := fakeregistry.PushReferrer(t, ref, fakeregistry.Image(t, "unknown", fakeregistry.Layer(3, 100)))
	if got := fakeregistry.Referrers(t, ref); !slices.Equal(got, []string{referrer}) {
		t.Errorf("Referrers() = %v, want %s", got, referrer)
	}
	tag := fakeregistry.PushSignature(t, ref, fakeregistry.Image(t, "unknown", fakeregistry.Layer(4, 100)))
	fakeregistry.Verify(t, s.Host+"/castai/agent:"+tag)
}

func TestBlobsBelongToRepositories(t *testing.T) {
	s := fakeregistry.Start(t)
	layer := fakeregistry.Layer(1, 100)
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	fakeregistry.Push(t, s.Host+"/a:v1", fakeregistry.Image(t, "amd64", layer))
	request := func(method, path string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	blob, mount := "/v2/b/blobs/"+digest.String(), "/v2/b/blobs/uploads/?from=a&mount="+digest.String()
	if got := request(http.MethodHead, blob); got != http.StatusNotFound {
		t.Errorf("HEAD before the mount: %d", got)
	}
	if got := request(http.MethodPost, mount); got != http.StatusCreated {
		t.Errorf("mount: %d", got)
	}
	s.ResetLog()
	if got := request(http.MethodGet, blob); got != http.StatusOK {
		t.Errorf("GET after the mount: %d", got)
	}
	s.DisableMounts()
	if got := request(http.MethodPost, mount); got != http.StatusAccepted {
		t.Errorf("mount while mounts are disabled: %d", got)
	}
	if got := s.FetchedBlobs(); !slices.Equal(got, []string{digest.String()}) {
		t.Errorf("FetchedBlobs() = %v, want %s", got, digest)
	}
	if got := s.Count(http.MethodPost, "/v2/b/"); got != 1 || s.Count("", "") != 2 {
		t.Errorf("%d POST requests in %v", got, s.Log())
	}
}

func TestFaults(t *testing.T) {
	s := fakeregistry.Start(t)
	content := fakeregistry.Layer(1, 1000)
	digest, err := content.Digest()
	if err != nil {
		t.Fatal(err)
	}
	fakeregistry.Push(t, s.Host+"/a:v1", fakeregistry.Image(t, "amd64", content))
	for name, tc := range map[string]struct {
		fault  fakeregistry.Fault
		status int // 0: no response
		bytes  int
	}{
		"none":                         {nil, 200, 1000},
		"a response":                   {fakeregistry.When(fakeregistry.IsBlob, fakeregistry.Respond(503, "busy")), 503, 4},
		"a response to other requests": {fakeregistry.When(func(r *http.Request) bool { return !fakeregistry.IsBlobGet(r) }, fakeregistry.Respond(503, "")), 200, 1000},
		"a response to every second":   {fakeregistry.Every(2, fakeregistry.IsBlob, fakeregistry.Respond(503, "")), 200, 1000},
		"no response":                  {fakeregistry.Abort, 0, 0},
		"a part of the body":           {fakeregistry.CutAfter(10), 200, 10},
		"all of the body":              {fakeregistry.CutAfter(1000), 200, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			s.SetFault(tc.fault)
			response, err := http.Get("http://" + s.Host + "/v2/a/blobs/" + digest.String())
			if err != nil {
				if tc.status != 0 {
					t.Error(err)
				}
				return
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if response.StatusCode != tc.status || len(body) != tc.bytes || (err != nil) != (tc.bytes == 10) {
				t.Errorf("status %d, %d bytes, error %v; want status %d, %d bytes", response.StatusCode, len(body), err, tc.status, tc.bytes)
			}
		})
	}
}
