// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
)

// The whole of a mirror: our engine, our client and our control plane, from a
// registry that go-containerregistry wrote to one with the habits of ECR.
type copying struct {
	target   *fakeecr.Server
	registry *Registry
	warnings *warnings
	source   string // host
	asked    *requests
	images   []mirror.Job
	digests  map[string]string // by repository
	mirror   *mirror.Mirror
	base     *http.Transport

	mu     sync.Mutex
	events []mirror.Event
}

type requests struct {
	mu  sync.Mutex
	all []string
}

func (r *requests) add(q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, q.Method+" "+q.URL.Path)
}

func (r *requests) count(prefix string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.all {
		if strings.HasPrefix(q, prefix) {
			n++
		}
	}
	return n
}

const images = 6

// newCopying makes images for two platforms, of six layers each, four of which
// all images share.
func newCopying(t *testing.T, o fakeecr.Options, c Config) *copying {
	t.Helper()
	k := &copying{asked: &requests{}, digests: map[string]string{}}
	k.target, k.registry, k.warnings = fake(t, o, c)
	source := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)), gcr.WithReferrersSupport(true))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		k.asked.add(q)
		source.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	k.source = strings.TrimPrefix(server.URL, "http://")
	for i := range images {
		path := fmt.Sprintf("image-%d", i)
		k.images = append(k.images, mirror.Job{Source: k.source + "/library/" + path + ":v1", Target: k.target.Host() + "/castai/" + path + ":v1"})
		k.digests["castai/"+path] = push(t, k.images[i].Source, index(t, 1, 2, uint64(10+2*i)))
	}
	k.base = registry.NewTransport()
	k.base.DialContext = k.target.Dial
	t.Cleanup(k.base.CloseIdleConnections)
	k.mirror = &mirror.Mirror{Repositories: k.registry, Referrers: true, Events: func(e mirror.Event) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.events = append(k.events, e)
	}}
	k.use(t, registry.Options{})
	return k
}

// use replaces the client, by one that signs unless the options say otherwise.
func (k *copying) use(t *testing.T, o registry.Options) {
	t.Helper()
	if o.Transport == nil {
		l, err := NewLogin(LoginConfig{Known: []*Registry{k.registry}})
		if err != nil {
			t.Fatal(err)
		}
		o.Transport, o.Credential = l.Transport(k.base), l.Credential
	}
	if o.Limits == nil {
		o.Limits = func(string) registry.Limits { return nil }
	}
	o.PlainHTTP = func(string) bool { return true }
	client := registry.New(o)
	k.mirror.Source, k.mirror.Target = client, client
}

func index(t *testing.T, seeds ...uint64) v1.ImageIndex {
	t.Helper()
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for n, arch := range []string{"amd64", "arm64"} {
		image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{OS: "linux", Architecture: arch, Author: fmt.Sprint(seeds)})
		if err != nil {
			t.Fatal(err)
		}
		image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
		for _, seed := range seeds {
			content := make([]byte, 20_000)
			_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(n)}).Read(content) // never fails
			if image, err = mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(content, types.OCILayer)}); err != nil {
				t.Fatal(err)
			}
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return all
}

func push(t *testing.T, ref string, all v1.ImageIndex) string {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(r, all); err != nil {
		t.Fatal(err)
	}
	d, err := all.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// run plans and copies.
func (k *copying) run(t *testing.T) *mirror.Plan {
	t.Helper()
	plan, err := k.mirror.Plan(t.Context(), k.images)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.mirror.Run(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	return plan
}

// done fails unless all images are there, in each of the states given.
func (k *copying) done(t *testing.T, plan *mirror.Plan, want mirror.State) {
	t.Helper()
	for _, i := range plan.Items {
		if i.State != want {
			t.Errorf("%s: %s, want %s: %v", i.Source, i.State, want, i.Err)
		}
	}
	for repository, d := range k.digests {
		if got := k.target.Tag(repository, "v1"); got.String() != d {
			t.Errorf("%s:v1 is %q, want %s", repository, got, d)
		}
	}
}

// mounts are those that the registry did and those that it did not.
func (k *copying) mounts() (did, didNot int) {
	return k.target.Count(func(r fakeecr.Request) bool { return r.Action == fakeecr.InitiateLayerUpload && r.Status == 201 }),
		k.target.Count(func(r fakeecr.Request) bool { return r.Action == fakeecr.InitiateLayerUpload && r.Status == 202 })
}

// Of the 6 × (6 layers + 2 configurations) 4 layers are shared by all.
const (
	placements = images * 8
	unique     = 4 + images*4
)

// sign pushes something that refers to an image.
func sign(t *testing.T, ref string) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := remote.Head(r)
	if err != nil {
		t.Fatal(err)
	}
	signature := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.test.signature")
	signed, ok := mutate.Subject(signature, *subject).(v1.Image)
	if !ok {
		t.Fatal("not an image")
	}
	d, err := signed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(r.Context().Digest(d.String()), signed); err != nil {
		t.Fatal(err)
	}
}
