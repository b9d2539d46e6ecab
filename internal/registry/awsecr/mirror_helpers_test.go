// SPDX-License-Identifier: Apache-2.0

package awsecr

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeecr"
	"github.com/castai/privatelink-webhook/internal/testutil/fakeregistry"
)

// mirrorTest mirrors images with the production engine, client and control
// plane, from a fake registry to a fake ECR.
type mirrorTest struct {
	source    *fakeregistry.Server
	target    *fakeecr.Server
	registry  *Registry
	warnings  *warnings
	images    []mirror.Job
	digests   map[string]string // by repository
	mirror    *mirror.Mirror
	transport *http.Transport

	mu     sync.Mutex
	events []mirror.Event
}

// Each image has two platforms, with three layers and a configuration each. All
// images share two layers of each platform.
const (
	imageCount  = 6
	blobCount   = imageCount * 8
	uniqueBlobs = 4 + imageCount*4
)

func newMirrorTest(t *testing.T, o fakeecr.Options, c Config) *mirrorTest {
	t.Helper()
	m := &mirrorTest{source: fakeregistry.Start(t), digests: map[string]string{}}
	m.target, m.registry, m.warnings = start(t, o, c)
	for i := range imageCount {
		name := fmt.Sprintf("image-%d", i)
		m.images = append(m.images, mirror.Job{Source: m.source.Host + "/library/" + name + ":v1", Target: m.target.Host() + "/castai/" + name + ":v1"})
		m.digests["castai/"+name] = fakeregistry.Push(t, m.images[i].Source, testIndex(t, i))
	}
	m.source.ResetLog()
	m.transport = registry.NewTransport()
	m.transport.DialContext = m.target.Dial
	t.Cleanup(m.transport.CloseIdleConnections)
	m.mirror = &mirror.Mirror{Repositories: m.registry, Referrers: true, Events: func(e mirror.Event) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.events = append(m.events, e)
	}}
	m.setClient(t, registry.Options{})
	return m
}

// testIndex returns the n-th of the images that share layers.
func testIndex(t *testing.T, n int) v1.ImageIndex {
	t.Helper()
	return fakeregistry.MultiArch(t, 20_000, 1, 2, uint64(10+n))
}

// setClient replaces the client. Its transport authenticates requests unless the
// options have another one.
func (m *mirrorTest) setClient(t *testing.T, o registry.Options) {
	t.Helper()
	if o.Transport == nil {
		l, err := NewLogin(LoginConfig{Known: []*Registry{m.registry}})
		if err != nil {
			t.Fatal(err)
		}
		o.Transport, o.Credential = l.Transport(m.transport), l.Credential
	}
	if o.Limits == nil {
		o.Limits = func(string) registry.Limits { return nil }
	}
	o.PlainHTTP = func(string) bool { return true }
	client := registry.New(o)
	m.mirror.Source, m.mirror.Target = client, client
}

func (m *mirrorTest) plan(t *testing.T) *mirror.Plan {
	t.Helper()
	plan, err := m.mirror.Plan(t.Context(), m.images)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func (m *mirrorTest) run(t *testing.T, plan *mirror.Plan) *mirror.Plan {
	t.Helper()
	if err := m.mirror.Run(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	return plan
}

// planAndRun mirrors the images.
func (m *mirrorTest) planAndRun(t *testing.T) *mirror.Plan {
	t.Helper()
	return m.run(t, m.plan(t))
}

// verify fails unless all images of the plan have the state, and all tags of the
// target have the expected digests.
func (m *mirrorTest) verify(t *testing.T, plan *mirror.Plan, want mirror.State) {
	t.Helper()
	for _, i := range plan.Items {
		if i.State != want {
			t.Errorf("%s: %s, want %s: %v", i.Source, i.State, want, i.Err)
		}
	}
	for repository, d := range m.digests {
		if got := m.target.Tag(repository, "v1"); got.String() != d {
			t.Errorf("%s:v1 is %q, want %s", repository, got, d)
		}
	}
}

// verifyUpToDate mirrors again, which must only read.
func (m *mirrorTest) verifyUpToDate(t *testing.T) {
	t.Helper()
	m.target.ResetLog()
	m.verify(t, m.planAndRun(t), mirror.StatePresent)
	for _, r := range m.target.Log() {
		if r.Method != http.MethodHead {
			t.Errorf("a second run sent %s", r)
		}
	}
}

// mountCounts returns the number of mounts, and of uploads that were started
// instead of a mount or without one.
func (m *mirrorTest) mountCounts() (mounts, uploads int) {
	count := func(status int) int {
		return m.target.Count(func(r fakeecr.Request) bool { return r.Action == fakeecr.InitiateLayerUpload && r.Status == status })
	}
	return count(http.StatusCreated), count(http.StatusAccepted)
}

// pushReferrer attaches an artifact that has a configuration only.
func pushReferrer(t *testing.T, ref string) {
	t.Helper()
	fakeregistry.PushReferrer(t, ref, mutate.ConfigMediaType(fakeregistry.Image(t, "unknown"), "application/vnd.test.signature"))
}
